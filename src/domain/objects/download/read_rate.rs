//! Measures how fast a reader is, by the time that it keeps the server waiting. The same limits apply to the senders
//! of uploads.

use std::time::Duration;

/// A reader is fast while sending this many bytes takes no longer than `LIMIT`: 256 KiB/s.
const WINDOW: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(4);

#[derive(Default)]
pub(super) struct ReadRate {
    bytes: usize,
    waited: Duration,
    is_slow: bool,
}

impl ReadRate {
    /// Records that the reader took these bytes after this time.
    pub fn add(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited > LIMIT || self.bytes >= WINDOW {
            self.is_slow = self.waited > LIMIT;
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Whether the reader is slow, if the server has been waiting for it for this time.
    pub fn is_slow(&self, waiting: Duration) -> bool {
        self.is_slow || self.waited + waiting > LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_slow_after_four_seconds_and_until_it_is_fast() {
        let mut rate = ReadRate::default();
        assert!(!rate.is_slow(LIMIT) && rate.is_slow(LIMIT * 2));
        rate.add(64 << 10, LIMIT);
        assert!(!rate.is_slow(Duration::ZERO));
        rate.add(64 << 10, Duration::from_secs(1));
        assert!(rate.is_slow(Duration::ZERO));
        rate.add(WINDOW, Duration::from_secs(3));
        assert!(!rate.is_slow(Duration::from_secs(1)));
    }
}
