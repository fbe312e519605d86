//! How fast a sender is. Time that the server takes does not count.

use std::time::Instant;

use crate::domain::transfer_rate::TransferRate;

pub(in crate::domain::uploads) struct SendRate {
    /// Since when the server has been waiting for the sender.
    waiting_since: Instant,
    rate: TransferRate,
}

impl SendRate {
    pub fn new() -> Self {
        Self { waiting_since: Instant::now(), rate: TransferRate::default() }
    }

    /// Records received bytes.
    pub fn received(&mut self, bytes: usize) {
        self.rate.add(bytes, self.waiting_since.elapsed());
    }

    /// The server is ready for more.
    pub fn wait_for_more(&mut self) {
        self.waiting_since = Instant::now();
    }

    pub fn is_fast(&self) -> bool {
        self.rate.is_fast()
    }

    pub fn is_slow(&self) -> bool {
        self.rate.is_slow()
    }
}
