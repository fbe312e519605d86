//! A short label with a tone and an icon, the same for the same state on every page.

use crate::domain::buckets::Versioning;
use crate::domain::uploads::Activity;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Badge {
    /// `ok`, `warn`, `bad` or `off`: the class of the style.
    pub tone: &'static str,
    /// The name of an icon.
    pub icon: &'static str,
    pub label: &'static str,
}

impl Badge {
    pub const fn new(tone: &'static str, icon: &'static str, label: &'static str) -> Self {
        Self { tone, icon, label }
    }

    /// Of an unfinished upload.
    pub fn of_activity(activity: Activity) -> Self {
        match activity {
            Activity::Receiving => Self::new("off", "upload", "Uploading"),
            Activity::Waiting => Self::new("off", "pause", "Waiting to be resumed"),
            Activity::Received => Self::new("off", "check", "Waiting for completion"),
            Activity::Publishing => Self::new("ok", "check", "Storing"),
            Activity::Stopped => Self::new("warn", "pause", "Stopped"),
        }
    }
}

pub fn versioning_label(versioning: Option<Versioning>) -> &'static str {
    match versioning {
        Some(Versioning::On) => "On",
        Some(Versioning::Suspended) => "Suspended",
        Some(Versioning::Off) => "Off",
        None => "unknown",
    }
}
