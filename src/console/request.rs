//! What every request carries: an id for the log and the error page, and the address it came from.

use std::net::IpAddr;

use actix_web::http::header::{ACCEPT, HeaderMap};
use actix_web::{HttpMessage, HttpRequest};
use aws_lc_rs::rand;

use crate::config::Network;

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
pub fn client_address(req: &HttpRequest, trusted: &[Network]) -> Option<IpAddr> {
    let peer = req.peer_addr()?.ip().to_canonical();
    if !is_trusted(&peer, trusted) {
        return Some(peer);
    }
    let forwarded = req.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let chain: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    Some(nearest_stranger(&chain, trusted).unwrap_or(peer))
}

/// From the right, because the left is whatever the client wrote: the first address that no trusted proxy has,
/// as far as it can be read.
fn nearest_stranger(chain: &[&str], trusted: &[Network]) -> Option<IpAddr> {
    let read = chain.iter().rev().map_while(|part| part.parse::<IpAddr>().ok()).map(|address| address.to_canonical());
    let mut last = None;
    for address in read {
        last = Some(address);
        if !is_trusted(&address, trusted) {
            break;
        }
    }
    last
}

fn is_trusted(address: &IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// Whether the request names JSON and not HTML among what it takes.
pub fn prefers_json(headers: &HeaderMap) -> bool {
    (accepts(headers, "application/json") || accepts(headers, "application/problem+json")) && !accepts(headers, "text/html")
}

/// Whether the request names this media type, as browsers do when they open a page.
pub fn accepts(headers: &HeaderMap, media: &str) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains(media))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_believed_only_from_the_right() {
        let proxy: Network = "10.0.0.2".parse().unwrap();
        let nearest = |chain: &[&str]| nearest_stranger(chain, &[proxy]).map(|address| address.to_string());
        assert_eq!(nearest(&["1.2.3.4"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(nearest(&["9.9.9.9", "1.2.3.4", "10.0.0.2"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(nearest(&["x", "1.2.3.4"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(nearest(&["1.2.3.4", "x"]), None);
        assert_eq!(nearest(&[]), None);
    }
}
