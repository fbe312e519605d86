//! How fast a sender is, by the time that it keeps us waiting: while we keep it waiting it is not to blame.

use std::time::{Duration, Instant};

/// A sender is fast while so many bytes take no longer than this: 256 KiB/s.
const WINDOW: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(4);

pub(super) struct SendRate {
    /// Since when the sender has the word.
    asked: Instant,
    bytes: usize,
    waited: Duration,
    fast: Option<bool>,
}

impl SendRate {
    /// Nobody is fast before they have shown it.
    pub fn new() -> Self {
        Self { asked: Instant::now(), bytes: 0, waited: Duration::ZERO, fast: None }
    }

    /// So many bytes have come.
    pub fn came(&mut self, bytes: usize) {
        self.add(bytes, self.asked.elapsed());
    }

    fn add(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited > LIMIT || self.bytes >= WINDOW {
            self.fast = Some(self.waited <= LIMIT);
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    /// More may come.
    pub fn ask(&mut self) {
        self.asked = Instant::now();
    }

    /// It has shown that it is.
    pub fn is_fast(&self) -> bool {
        self.fast == Some(true)
    }

    /// It has shown that it is not.
    pub fn is_slow(&self) -> bool {
        self.fast == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_fast_once_it_has_shown_it_and_until_it_slackens() {
        let mut send_rate = SendRate::new();
        send_rate.add(WINDOW - 1, Duration::ZERO);
        assert!(!send_rate.is_fast() && !send_rate.is_slow(), "a burst of less than the window shows nothing");
        send_rate.add(1, Duration::from_secs(1));
        assert!(send_rate.is_fast());
        send_rate.add(1_000, Duration::from_secs(4));
        assert!(send_rate.is_fast(), "a pause alone");
        send_rate.add(1_000, Duration::from_secs(1));
        assert!(send_rate.is_slow() && !send_rate.is_fast());
    }
}
