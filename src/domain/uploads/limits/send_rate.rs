//! Measures how fast a sender is, by the time that it keeps the server waiting. Time that the server takes does not
//! count.

use std::time::{Duration, Instant};

/// A sender is fast while receiving this many bytes takes no longer than `LIMIT`: 256 KiB/s.
const WINDOW: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(4);

pub(in crate::domain::uploads) struct SendRate {
    /// Since when the server has been waiting for the sender.
    waiting_since: Instant,
    bytes: usize,
    waited: Duration,
    fast: Option<bool>,
}

impl SendRate {
    /// A sender is not fast until measured.
    pub fn new() -> Self {
        Self { waiting_since: Instant::now(), bytes: 0, waited: Duration::ZERO, fast: None }
    }

    /// Records received bytes.
    pub fn received(&mut self, bytes: usize) {
        self.add(bytes, self.waiting_since.elapsed());
    }

    fn add(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited > LIMIT || self.bytes >= WINDOW {
            self.fast = Some(self.waited <= LIMIT);
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    /// The server is ready for more.
    pub fn wait_for_more(&mut self) {
        self.waiting_since = Instant::now();
    }

    /// Measured as fast.
    pub fn is_fast(&self) -> bool {
        self.fast == Some(true)
    }

    /// Measured as slow.
    pub fn is_slow(&self) -> bool {
        self.fast == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_fast_once_measured_and_until_it_slows_down() {
        let mut send_rate = SendRate::new();
        send_rate.add(WINDOW - 1, Duration::ZERO);
        assert!(!send_rate.is_fast() && !send_rate.is_slow(), "a burst smaller than the window is not measured");
        send_rate.add(1, Duration::from_secs(1));
        assert!(send_rate.is_fast());
        send_rate.add(1_000, Duration::from_secs(4));
        assert!(send_rate.is_fast(), "a pause alone");
        send_rate.add(1_000, Duration::from_secs(1));
        assert!(send_rate.is_slow() && !send_rate.is_fast());
    }
}
