//! Measures how fast a client sends or reads, by the time that it keeps the server waiting.

use std::time::Duration;

/// A client is fast while this many bytes take no longer than `LIMIT`: 256 KiB/s.
pub(super) const WINDOW: usize = 1 << 20;
pub(super) const LIMIT: Duration = Duration::from_secs(4);

/// Neither fast nor slow until measured: a burst smaller than the window says nothing.
#[derive(Default)]
pub(super) struct TransferRate {
    bytes: usize,
    waited: Duration,
    fast: Option<bool>,
}

impl TransferRate {
    /// Records that these bytes passed after this time.
    pub fn add(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited > LIMIT || self.bytes >= WINDOW {
            self.fast = Some(self.waited <= LIMIT);
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Measured as fast.
    pub fn is_fast(&self) -> bool {
        self.fast == Some(true)
    }

    /// Measured as slow.
    pub fn is_slow(&self) -> bool {
        self.fast == Some(false)
    }

    /// Whether the client is slow, if the server has been waiting for it for this time.
    pub fn is_slow_after(&self, waiting: Duration) -> bool {
        self.is_slow() || self.waited + waiting > LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_fast_once_measured_and_until_it_slows_down() {
        let mut rate = TransferRate::default();
        rate.add(WINDOW - 1, Duration::ZERO);
        assert!(!rate.is_fast() && !rate.is_slow(), "a burst smaller than the window is not measured");
        rate.add(1, Duration::from_secs(1));
        assert!(rate.is_fast());
        rate.add(1_000, LIMIT);
        assert!(rate.is_fast(), "a pause alone");
        rate.add(1_000, Duration::from_secs(1));
        assert!(rate.is_slow() && !rate.is_fast());
    }

    #[test]
    fn a_client_that_stops_is_slow_before_the_next_bytes() {
        let mut rate = TransferRate::default();
        assert!(!rate.is_slow_after(LIMIT) && rate.is_slow_after(LIMIT * 2));
        rate.add(64 << 10, LIMIT);
        assert!(!rate.is_slow_after(Duration::ZERO) && rate.is_slow_after(Duration::from_millis(1)));
    }
}
