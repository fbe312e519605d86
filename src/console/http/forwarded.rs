//! The addresses that proxies report in `X-Forwarded-For`, or in `Forwarded` (RFC 7239) if the former is absent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::http::header::{FORWARDED, HeaderMap};

use super::header_list::joined;
use crate::config::Network;

/// The rightmost reported address that is not a trusted proxy. Only meaningful if the peer is a trusted proxy.
pub fn client(headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    nearest_untrusted(&chain(headers), trusted)
}

/// Each hop from left to right. `None` for a hop without an address, such as `unknown`.
fn chain(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    if headers.contains_key("x-forwarded-for") {
        let list = joined(headers, "x-forwarded-for");
        return list.split(',').map(str::trim).filter(|hop| !hop.is_empty()).map(address).collect();
    }
    let list = joined(headers, FORWARDED.as_str());
    // With an unclosed quote, a client could hide the hops that proxies append after its own.
    let hops = split_unquoted(&list, ',').unwrap_or_default();
    hops.into_iter().map(str::trim).filter(|hop| !hop.is_empty()).map(forwarded_for).collect()
}

/// Searches from the right, because clients control the left part: the first valid address that is not a trusted proxy.
fn nearest_untrusted(chain: &[Option<IpAddr>], trusted: &[Network]) -> Option<IpAddr> {
    let mut last = None;
    for address in chain.iter().rev().map_while(|hop| *hop) {
        last = Some(address);
        if !Network::any_contains(trusted, &address) {
            break;
        }
    }
    last
}

/// The address in the `for` parameter of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = split_unquoted(element, ';')?.into_iter().filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(quoted) => address(&quoted.replace('\\', "")),
        None => address(value),
    }
}

/// Splits at each separator outside of a quoted string. `None` if a quote is not closed.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// An address, with or without a port. Azure and IIS add the port in `X-Forwarded-For` as well. IPv6 may have brackets, and must
/// have them before a port. `unknown` and obfuscated identifiers such as `_proxy` are not addresses.
fn address(node: &str) -> Option<IpAddr> {
    let without_zone = |text: &str| text.split_once('%').map_or(text, |(address, _)| address).parse::<Ipv6Addr>().ok();
    let found = if let Some(rest) = node.strip_prefix('[') {
        let (inner, rest) = rest.split_once(']')?;
        if !rest.is_empty() && !rest.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        IpAddr::V6(without_zone(inner)?)
    } else if let Some(address) = without_zone(node) {
        IpAddr::V6(address)
    } else {
        match node.split_once(':') {
            Some((address, port)) => IpAddr::V4(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?),
            None => IpAddr::V4(node.parse().ok()?),
        }
    };
    Some(found.to_canonical())
}

/// A number, or an obfuscated port such as `_x` (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() || (text.len() > 1 && text.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    /// The client behind the proxies 10.0.0.2 and fd00::2.
    fn found(headers: &[(&str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.2", "fd00::2"].map(|proxy| proxy.parse().unwrap());
        client(&map, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn addresses_are_trusted_only_from_the_right() {
        for (list, expected) in [
            ("1.2.3.4", Some("1.2.3.4")),
            ("9.9.9.9, 1.2.3.4,10.0.0.2", Some("1.2.3.4")),
            ("9.9.9.9, 1.2.3.4:1,[fd00::2]:2", Some("1.2.3.4")),
            ("x, 1.2.3.4", Some("1.2.3.4")),
            ("9.9.9.9, \u{e9}, 1.2.3.4", Some("1.2.3.4")),
            ("1.2.3.4,", Some("1.2.3.4")),
            ("1.2.3.4, x", None),
            ("1.2.3.4, unknown, 10.0.0.2", Some("10.0.0.2")),
            ("", None),
        ] {
            assert_eq!(found(&[("x-forwarded-for", list)]).as_deref(), expected, "{list}");
        }
        assert_eq!(found(&[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "1.2.3.4")]).as_deref(), Some("1.2.3.4"));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn every_form_of_an_address_is_parsed() {
        for (node, expected) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.7:51234", Some("203.0.113.7")),
            ("203.0.113.7:_port", Some("203.0.113.7")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:DB8::1]:4711", Some("2001:db8::1")),
            ("[fe80::1%eth0]:4711", Some("fe80::1")),
            ("fe80::1%3", Some("fe80::1")),
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("[::ffff:203.0.113.7]:80", Some("203.0.113.7")),
            ("203.0.113.7:", None),
            ("203.0.113.7:99999", None),
            ("203.0.113.7:80:80", None),
            ("[203.0.113.7]:80", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]4711", None),
            ("unknown", None),
            ("_hidden", None),
            ("example.com:80", None),
        ] {
            assert_eq!(address(node).map(|address| address.to_string()).as_deref(), expected, "{node}");
        }
    }

    #[test]
    fn forwarded_is_used_without_x_forwarded_for() {
        for (list, expected) in [
            ("for=1.2.3.4", Some("1.2.3.4")),
            ("For=\"[2001:db8::1]:4711\"", Some("2001:db8::1")),
            ("for=9.9.9.9, for=\"1.2.3.4:5\";proto=https;by=10.0.0.2, for=10.0.0.2", Some("1.2.3.4")),
            ("by=10.0.0.2 ; host=\"a,b;for=9.9.9.9\" ; for=1.2.3.4", Some("1.2.3.4")),
            ("for=\"1.2.3\\.4\"", Some("1.2.3.4")),
            ("for=9.9.9.9, for=unknown", None),
            ("for=9.9.9.9, for=\"_gazonk\"", None),
            ("for=9.9.9.9, proto=https", None),
            ("for=\"9.9.9.9, for=1.2.3.4", None),
            ("for=9.9.9.9;x=\", for=1.2.3.4", None),
            ("for=9.9.9.9;x=\", for=\"[2001:db8::1]:4711\"", None),
            ("for=9.9.9.9;x=\"\\, for=\"[2001:db8::1]:4711\"", None),
        ] {
            assert_eq!(found(&[("forwarded", list)]).as_deref(), expected, "{list}");
        }
        assert_eq!(found(&[("forwarded", "for=9.9.9.9"), ("x-forwarded-for", "1.2.3.4")]).as_deref(), Some("1.2.3.4"));
        assert_eq!(found(&[("forwarded", "for=9.9.9.9"), ("forwarded", "for=1.2.3.4")]).as_deref(), Some("1.2.3.4"));
    }
}
