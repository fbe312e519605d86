//! Per-request data: the request id and the client address.

use std::net::IpAddr;

use actix_web::{HttpMessage, HttpRequest};
use aws_lc_rs::rand;

use super::forwarded;
use crate::config::Network;

/// Sixteen characters that are easy to read out (Crockford's base 32).
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    pub fn new() -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut bytes = [0_u8; 16];
        // The id need not be secret: without randomness it is all zeros.
        let _ = rand::fill(&mut bytes);
        Self(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

tokio::task_local! {
    /// Set by the outermost middleware while a request is handled, because error pages have no access to the request.
    pub static CURRENT: String;
}

/// The id of the current request, or a new one outside of any request.
pub fn current_id() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| RequestId::new().0)
}

/// The id that the outermost middleware assigned to this request.
pub fn id(req: &HttpRequest) -> String {
    req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// The peer address. If the peer is a trusted proxy, the rightmost address that the proxies report and that is not a trusted
/// proxy.
pub fn client_address(req: &HttpRequest, trusted: &[Network]) -> Option<IpAddr> {
    let peer = req.peer_addr()?.ip().to_canonical();
    if !Network::any_contains(trusted, &peer) {
        return Some(peer);
    }
    Some(forwarded::client(req.headers(), trusted).unwrap_or(peer))
}
