//! Per-request data: the request id, the client address and the accepted media types.

use std::net::IpAddr;

use actix_web::http::header::{ACCEPT, HeaderMap};
use actix_web::{HttpMessage, HttpRequest};
use aws_lc_rs::rand;

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

/// The peer address. If the peer is a trusted proxy, the rightmost address in `X-Forwarded-For` that is not a trusted
/// proxy.
pub fn client_address(req: &HttpRequest, trusted: &[Network]) -> Option<IpAddr> {
    let peer = req.peer_addr()?.ip().to_canonical();
    if !is_trusted(&peer, trusted) {
        return Some(peer);
    }
    let forwarded = req.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let chain: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    Some(nearest_untrusted(&chain, trusted).unwrap_or(peer))
}

/// Searches from the right, because clients control the left part: the first valid address that is not a trusted proxy.
fn nearest_untrusted(chain: &[&str], trusted: &[Network]) -> Option<IpAddr> {
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

/// Whether the request accepts JSON but not HTML.
pub fn prefers_json(headers: &HeaderMap) -> bool {
    (accepts(headers, "application/json") || accepts(headers, "application/problem+json")) && !accepts(headers, "text/html")
}

/// Whether the `Accept` header contains this media type.
pub fn accepts(headers: &HeaderMap, media: &str) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains(media))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_are_trusted_only_from_the_right() {
        let proxy: Network = "10.0.0.2".parse().unwrap();
        let nearest = |chain: &[&str]| nearest_untrusted(chain, &[proxy]).map(|address| address.to_string());
        assert_eq!(nearest(&["1.2.3.4"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(nearest(&["9.9.9.9", "1.2.3.4", "10.0.0.2"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(nearest(&["x", "1.2.3.4"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(nearest(&["1.2.3.4", "x"]), None);
        assert_eq!(nearest(&[]), None);
    }
}
