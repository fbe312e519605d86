//! Counted requests of one subject within a window, and their signed form in Redis.

use crate::domain::signing::Signer;

/// A window is measured in this many steps.
const STEPS: u64 = 60;
/// Longest accepted value: one entry per step, and the replica.
pub(super) const MAX_LENGTH: usize = 2048;

/// Requests by the start of their step in milliseconds since 1970, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<(u64, u64)>);

impl Counts {
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn entries(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Removes requests that are older than the window.
    pub fn expire(&mut self, now: u64, window: u64) {
        // A clock that was set back must not keep requests longer.
        self.0.retain(|(start, _)| *start + window > now && *start <= now + window);
    }

    /// Counts one request. Returns the start of its step.
    pub fn add(&mut self, now: u64, window: u64) -> u64 {
        let start = now - now % (window / STEPS).max(1);
        match self.0.binary_search_by_key(&start, |(start, _)| *start) {
            Ok(at) => self.0[at].1 += 1,
            Err(at) => self.0.insert(at, (start, 1)),
        }
        start
    }

    /// Removes one request of this step.
    pub fn remove(&mut self, start: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&start, |(start, _)| *start) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.remove(at);
            }
        }
    }

    /// The signed form, which is valid for this key and replica only.
    pub fn sign(&self, signer: &Signer, key: &str, replica: &str) -> Option<String> {
        let entries: Vec<String> = self.0.iter().map(|(start, count)| format!("{start}:{count}")).collect();
        signer.sign(key, &format!("{replica} {}", entries.join(",")))
    }

    /// The replica and its requests within the window, at most `limit`. `None`: not signed by Larder for this key.
    pub fn verify(signer: &Signer, key: &str, signed: &str, limit: u64) -> Option<(String, Self)> {
        let (replica, entries) = signer.verify(key, signed)?.split_once(' ')?;
        let mut counts = Vec::new();
        for entry in entries.split(',').filter(|entry| !entry.is_empty()) {
            let (start, count) = entry.split_once(':')?;
            counts.push((start.parse().ok()?, count.parse().ok()?));
        }
        Some((replica.to_owned(), Self(counts).limited(limit)))
    }

    /// The newest requests, at most `limit`.
    fn limited(mut self, limit: u64) -> Self {
        let mut left = limit;
        for (_, count) in self.0.iter_mut().rev() {
            *count = (*count).min(left);
            left -= *count;
        }
        self.0.retain(|(_, count)| *count > 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 60_000;

    #[test]
    fn requests_expire_step_by_step() {
        let mut counts = Counts::default();
        let start = counts.add(100_000, WINDOW);
        counts.add(100_999, WINDOW);
        counts.add(101_000, WINDOW);
        assert_eq!(counts.0, [(100_000, 2), (101_000, 1)]);
        counts.remove(start);
        counts.remove(7);
        assert_eq!(counts.total(), 2);
        counts.expire(160_000, WINDOW);
        assert_eq!(counts.0, [(101_000, 1)]);
        counts.expire(30_000, WINDOW);
        assert!(counts.is_empty(), "the clock was set back");
    }

    #[test]
    fn a_value_is_capped_at_the_limit() {
        let counts = Counts(vec![(1, 5), (2, 5), (3, 5)]);
        assert_eq!(counts.clone().limited(7).0, [(2, 2), (3, 5)]);
        assert_eq!(counts.clone().limited(15), counts);
        assert_eq!(Signer::default().sign("key", "text"), None, "no key is loaded, so nothing is signed");
    }
}
