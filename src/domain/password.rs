//! Passwords: argon2id on threads of low priority, a few at a time, with OWASP parameters (19 MiB, 2 passes).

mod argon2id;

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use super::{Error, Result};

pub const MIN_CHARS: usize = 12;
/// Long enough for any passphrase, short enough to hash at no extra cost.
pub const MAX_BYTES: usize = 1024;

/// Each hash takes 19 MiB and a core. A flood of sign-ins from unknown addresses has half of the cores.
struct Slots {
    known: Semaphore,
    unknown: Semaphore,
}

static SLOTS: LazyLock<Slots> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Slots { known: Semaphore::new(cores.div_ceil(2)), unknown: Semaphore::new((cores / 2).max(1)) }
});

/// The priority of threads that hash; on Linux, threads have one each.
const NICE: i32 = 10;

/// How long a hash waits for a core.
const SLOT_TIMEOUT: Duration = Duration::from_secs(5);

/// The hash of a random password: verifying an unknown e-mail costs the same as a known one.
static DUMMY_HASH: LazyLock<String> = LazyLock::new(|| {
    let mut unknown = [0_u8; 32];
    let _ = aws_lc_rs::rand::fill(&mut unknown);
    argon2id::hash(&unknown).unwrap_or_default()
});

/// The rule that a new password violates, as a sentence; `None` if it is acceptable.
pub fn violated_rule(password: &str) -> Option<&'static str> {
    let password = &composed(password);
    if password.chars().count() < MIN_CHARS {
        return Some("The password must have at least 12 characters.");
    }
    if password.len() > MAX_BYTES {
        return Some("The password must have at most 1,024 bytes.");
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) || COMMON.contains(&password.to_lowercase().as_str()) {
        return Some("This password is too common.");
    }
    None
}

/// Common passwords that are long enough to satisfy the other rules.
const COMMON: [&str; 12] = [
    "123456789012",
    "1234567890123",
    "passwordpassword",
    "password1234",
    "password12345",
    "qwertyuiop12",
    "qwertyuiopasdf",
    "administrator",
    "adminadminadmin",
    "1q2w3e4r5t6y",
    "iloveyou1234",
    "letmeinletmein",
];

/// The form that is hashed (NFC, as RFC 8265 recommends): systems differ in how a keyboard composes `é`.
fn composed(password: &str) -> String {
    password.nfc().collect()
}

/// The forms of which earlier versions may have stored a hash, the current one first. ASCII passwords have one form.
fn forms(password: &str) -> Vec<String> {
    let mut forms = vec![composed(password)];
    for form in [password.to_owned(), password.nfd().collect()] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

pub async fn hash(password: &str) -> Result<String> {
    let password = composed(password);
    let hashed = run_blocking(&SLOTS.known, move || argon2id::hash(password.as_bytes())).await?;
    hashed.ok_or_else(|| Error::Internal("the password could not be hashed".into()))
}

/// Whether `password` belongs to `hash`. Without a hash the same work is done and the answer is no. `is_known`: the
/// caller's address has signed in before.
pub async fn verify(password: &str, hash: Option<String>, is_known: bool) -> Result<bool> {
    let known = hash.is_some();
    let forms = forms(password);
    let slots = if is_known { &SLOTS.known } else { &SLOTS.unknown };
    let matches = run_blocking(slots, move || {
        let hash = hash.unwrap_or_else(|| DUMMY_HASH.clone());
        forms.iter().any(|form| argon2id::verify(form.as_bytes(), &hash))
    })
    .await?;
    Ok(known && matches)
}

async fn run_blocking<T: Send + 'static>(slots: &Semaphore, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let busy = || Error::Busy { why: "Too many people are signing in. Try again in a few seconds.".into(), retry_after: SLOT_TIMEOUT };
    let slot = tokio::time::timeout(SLOT_TIMEOUT, slots.acquire()).await;
    let _slot = slot.map_err(|_| busy())?.map_err(|_| busy())?;
    let (done, hashed) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("password".into()).spawn(move || {
        // A hash takes a core for some 20 ms. Pages of other people go first.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        let _ = done.send(work());
    });
    thread.map_err(|error| Error::Internal(format!("no thread for hashing: {error}")))?;
    hashed.await.map_err(|error| Error::Internal(format!("hashing was aborted: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_is_verified() {
        let hashed = hash("correct horse battery").await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(verify("correct horse battery", Some(hashed.clone()), true).await.unwrap());
        assert!(!verify("correct horse batterz", Some(hashed), false).await.unwrap());
        assert!(!verify("", None, false).await.unwrap());
    }

    #[tokio::test]
    async fn a_password_is_the_same_however_its_characters_are_composed() {
        let (nfc, nfd) = ("caf\u{e9} correct horse", "cafe\u{301} correct horse");
        for (stored, typed) in [(nfc, nfd), (nfd, nfc)] {
            assert!(verify(typed, Some(hash(stored).await.unwrap()), true).await.unwrap());
            // Hashed before passwords were normalised.
            assert!(verify(typed, argon2id::hash(stored.as_bytes()), true).await.unwrap());
        }
    }

    #[test]
    fn weak_passwords_are_rejected_with_a_reason() {
        assert!(violated_rule("short").is_some());
        assert!(violated_rule("aaaaaaaaaaaaaaa").is_some());
        assert!(violated_rule("Password1234").is_some());
        assert!(violated_rule("correct horse battery staple").is_none());
    }
}
