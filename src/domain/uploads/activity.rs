//! What a pending upload is currently doing. For display only: the reaper and the publisher use the database's clock.

use chrono::{DateTime, TimeDelta, Utc};

/// Without a heartbeat for this long, the upload counts as inactive.
const RECENT: TimeDelta = TimeDelta::minutes(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Bytes are arriving, or arrived a moment ago.
    Receiving,
    /// It can be resumed, but no one is sending.
    Waiting,
    /// All parts are stored; the sender has not requested completion yet.
    Received,
    /// The object is being created from the received parts.
    Publishing,
    /// No one is sending, and it cannot be resumed.
    Stopped,
}

impl Activity {
    /// `heartbeat`: the last heartbeat. `missing`: missing bytes of a resumable upload.
    pub(super) fn of(now: DateTime<Utc>, heartbeat: Option<DateTime<Utc>>, publishing: bool, missing: Option<i64>) -> Self {
        let recent = heartbeat.is_some_and(|heartbeat| now - heartbeat <= RECENT);
        match missing {
            _ if publishing => Self::Publishing,
            Some(0) => Self::Received,
            _ if recent => Self::Receiving,
            Some(_) => Self::Waiting,
            None => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inactive_upload_is_not_shown_as_arriving() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let heartbeat = |seconds| Some(now - TimeDelta::seconds(seconds));
        for (heartbeat, publishing, missing, expected) in [
            (heartbeat(5), false, Some(3), Activity::Receiving),
            (heartbeat(61), false, Some(3), Activity::Waiting),
            (None, false, Some(3), Activity::Waiting),
            (heartbeat(5), false, Some(0), Activity::Received),
            (heartbeat(5), false, None, Activity::Receiving),
            (heartbeat(61), false, None, Activity::Stopped),
            (heartbeat(61), true, Some(0), Activity::Publishing),
        ] {
            assert_eq!(Activity::of(now, heartbeat, publishing, missing), expected, "{heartbeat:?} {publishing} {missing:?}");
        }
    }
}
