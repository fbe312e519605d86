//! What every request carries: an id for the log and the error page, and the address it came from.

use std::net::IpAddr;

use actix_web::{HttpMessage, HttpRequest};
use aws_lc_rs::rand;

/// Sixteen letters and digits that a person can read out (Crockford's base 32).
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    pub fn new() -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut bytes = [0_u8; 16];
        // A reference need not be secret: without randomness it is all zeros, and still an answer.
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
    /// Set by the outermost middleware while a request is answered: error pages see no request.
    pub static CURRENT: String;
}

/// The id of the request that is being answered, or a new one outside of any.
pub fn current_id() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| RequestId::new().0)
}

/// The id that the outermost middleware gave this request.
pub fn id(req: &HttpRequest) -> String {
    req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// The peer, or what a trusted proxy says of it: the right-most address of `X-Forwarded-For` that no
/// trusted proxy has.
pub fn client_address(req: &HttpRequest, trusted: &[IpAddr]) -> Option<IpAddr> {
    let peer = req.peer_addr()?.ip().to_canonical();
    if !trusted.contains(&peer) {
        return Some(peer);
    }
    let forwarded = req.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let chain: Vec<IpAddr> = forwarded.flat_map(|value| value.split(',')).map_while(|part| part.trim().parse::<IpAddr>().ok()).collect();
    Some(chain.into_iter().rev().map(|address| address.to_canonical()).find(|address| !trusted.contains(address)).unwrap_or(peer))
}
