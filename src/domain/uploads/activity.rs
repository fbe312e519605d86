//! What an upload that is not over does at this moment. For the eye only: the reaper and whoever publishes go by the
//! database's clock.

use chrono::{DateTime, TimeDelta, Utc};

/// Without a sign of life for so long, nothing is arriving.
const RECENT: TimeDelta = TimeDelta::minutes(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Bytes come, or came a moment ago.
    Arriving,
    /// It can be gone on with, and nobody does.
    Waiting,
    /// All its parts are there; nobody has asked yet that the file be stored.
    Arrived,
    /// The object is being made of what has arrived.
    Publishing,
    /// Nobody sends, and nobody can go on.
    Stopped,
}

impl Activity {
    /// `beat`: the last sign of life. `missing`: how many bytes are missing, where the upload can be resumed.
    pub(super) fn of(now: DateTime<Utc>, beat: Option<DateTime<Utc>>, publishing: bool, missing: Option<i64>) -> Self {
        let recent = beat.is_some_and(|beat| now - beat <= RECENT);
        match missing {
            _ if publishing => Self::Publishing,
            Some(0) => Self::Arrived,
            _ if recent => Self::Arriving,
            Some(_) => Self::Waiting,
            None => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_not_called_arriving() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let beat = |seconds| Some(now - TimeDelta::seconds(seconds));
        for (beat, publishing, missing, expected) in [
            (beat(5), false, Some(3), Activity::Arriving),
            (beat(61), false, Some(3), Activity::Waiting),
            (None, false, Some(3), Activity::Waiting),
            (beat(5), false, Some(0), Activity::Arrived),
            (beat(5), false, None, Activity::Arriving),
            (beat(61), false, None, Activity::Stopped),
            (beat(61), true, Some(0), Activity::Publishing),
        ] {
            assert_eq!(Activity::of(now, beat, publishing, missing), expected, "{beat:?} {publishing} {missing:?}");
        }
    }
}
