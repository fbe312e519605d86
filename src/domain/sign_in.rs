//! Signing in by password: the same work and the same words whoever asks.

use std::time::Duration;

use super::actor::Actor;
use super::{Context, Result};

pub enum SignIn {
    /// The token for the cookie and how long it lives.
    Welcome { token: String, lifetime: Duration },
    /// Wrong e-mail or password; never which.
    Wrong,
    /// Too many wrong ones; wait this long.
    Wait(Duration),
}

/// `visitor` is anonymous and carries address and request id.
pub async fn sign_in(ctx: &Context, visitor: &Actor, email: &str, password: &str) -> Result<SignIn> {
    todo!()
}
