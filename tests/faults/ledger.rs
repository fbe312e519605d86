//! Records what was sent and answered, and derives what a key may contain.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How long after its sender lost it an upload may still be published, since the store may still be processing it.
const AFTERMATH: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Stored,
    Refused,
    /// The response was lost, or said that the outcome is unknown.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub key: String,
    pub sha256: String,
    pub overwrite: bool,
    pub began: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Attempt>>>);

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Ledger {
    pub fn enter(&self, key: &str, body: &[u8], overwrite: bool, began: Instant, outcome: Outcome) {
        let attempt = Attempt { key: key.to_owned(), sha256: sha256(body), overwrite, began, ended: Instant::now(), outcome };
        self.0.lock().unwrap().push(attempt);
    }

    /// Number of uploads with this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.0.lock().unwrap().iter().filter(|attempt| attempt.outcome == outcome).count()
    }

    pub fn by_key(&self) -> BTreeMap<String, Vec<Attempt>> {
        let mut by_key: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for attempt in self.0.lock().unwrap().iter() {
            by_key.entry(attempt.key.clone()).or_default().push(attempt.clone());
        }
        by_key
    }
}

/// What is wrong with the content of one key, by its digest; `None`: the object does not exist.
pub fn judge(attempts: &[Attempt], found: Option<&str>) -> Vec<String> {
    let stored = || attempts.iter().filter(|attempt| attempt.outcome == Outcome::Stored);
    let mut wrong = Vec::new();
    for later in stored().filter(|attempt| !attempt.overwrite) {
        if stored().any(|earlier| earlier.ended < later.began) {
            wrong.push("an object was replaced without permission".to_owned());
        }
    }
    let Some(found) = found else {
        if stored().next().is_some() {
            wrong.push("an acknowledged file is missing".to_owned());
        }
        return wrong;
    };
    let replaced_for_certain = |attempt: &Attempt| {
        let over = attempt.ended + if attempt.outcome == Outcome::Unknown { AFTERMATH } else { Duration::ZERO };
        stored().any(|later| later.began > over)
    };
    let sent: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.sha256 == found).collect();
    if sent.is_empty() {
        wrong.push(format!("it holds bytes that no one sent ({found})"));
    } else if sent.iter().all(|attempt| attempt.outcome == Outcome::Refused) {
        wrong.push("it contains bytes that were rejected".to_owned());
    } else if sent.iter().all(|attempt| attempt.outcome == Outcome::Refused || replaced_for_certain(attempt)) {
        wrong.push("it holds bytes that a later, acknowledged upload had replaced".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_detects_violations() {
        let start = Instant::now() + Duration::from_secs(60);
        let attempt = |sha256: &str, overwrite, began: u64, ended: u64, outcome| Attempt {
            key: "k".into(),
            sha256: sha256.into(),
            overwrite,
            began: start + Duration::from_secs(began),
            ended: start + Duration::from_secs(ended),
            outcome,
        };
        let old = attempt("old", false, 0, 1, Outcome::Stored);
        let new = attempt("new", true, 10, 11, Outcome::Stored);
        let lost = attempt("lost", true, 5, 6, Outcome::Unknown);
        let at_once = attempt("lost", true, 10, 12, Outcome::Unknown);
        let all = [old.clone(), lost, new.clone()];
        assert_eq!(judge(&all, Some("new")), Vec::<String>::new());
        for (found, word) in [(Some("old"), "later"), (Some("lost"), "later"), (Some("torn"), "no one sent"), (None, "missing")] {
            assert!(judge(&all, found)[0].contains(word), "{found:?}");
        }
        assert!(judge(&[old.clone(), new, at_once], Some("lost")).is_empty());
        assert!(judge(&[attempt("x", false, 0, 1, Outcome::Refused)], Some("x"))[0].contains("rejected"));
        assert!(judge(&[old, attempt("x", false, 5, 6, Outcome::Stored)], Some("x"))[0].contains("without permission"));
    }
}
