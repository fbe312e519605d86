//! CSRF protection by origin: checks that a form was sent by a page of Larder, without reading the form.
//!
//! With DNS rebinding, an attacker's host name resolves to this machine and the browser treats the attacker's page as
//! same-origin. Therefore only host names that belong to Larder are accepted.

use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap};

use super::error::Error;

/// The addresses under which browsers may reach Larder.
#[derive(Clone, Copy, Debug)]
pub struct OriginPolicy<'a> {
    /// `PUBLIC_URL`.
    pub own: Option<&'a str>,
    /// The IP address of `BIND`.
    pub bind: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    OtherSite,
    UnknownAddress,
}

impl Rejection {
    /// The error with instructions for the caller.
    pub fn into_error(self, program: bool) -> Error {
        Error::Forbidden(match self {
            Self::OtherSite if program => {
                "The header Origin is missing or is not the address of this Larder, so nothing was done. API clients \
                                           must send it with every POST."
                    .to_owned()
            }
            Self::OtherSite => {
                "This form was sent from another site, so nothing was done. Open the page in Larder and try again.".to_owned()
            }
            Self::UnknownAddress => "The address in your browser is not a known address of Larder, so nothing was done. The operator must \
                                      set PUBLIC_URL to this address and let a reverse proxy forward the Host header."
                .to_owned(),
        })
    }
}

impl OriginPolicy<'_> {
    /// Checks `Sec-Fetch-Site`, which no page can forge, or else `Origin`; and always `Host`.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST.as_str());
        let mut plain = true;
        if let Some(site) = headers.get("sec-fetch-site") {
            if site != "same-origin" && site != "none" {
                return Err(Rejection::OtherSite);
            }
        } else {
            let (scheme, from) = text(header::ORIGIN.as_str()).and_then(|origin| origin.split_once("://")).ok_or(Rejection::OtherSite)?;
            let same = |other: Option<&str>| other.is_some_and(|other| other.eq_ignore_ascii_case(from));
            let ours = match self.own.and_then(|own| own.split_once("://")) {
                Some((own_scheme, own)) => scheme == own_scheme && same(Some(own)),
                None => same(host),
            };
            if !ours {
                return Err(Rejection::OtherSite);
            }
            // Larder itself serves http: an https page implies a proxy, which only PUBLIC_URL can confirm.
            plain = self.own.is_some() || scheme == "http";
        }
        if plain && host.is_some_and(|host| self.is_own_host(host_name(host))) { Ok(()) } else { Err(Rejection::UnknownAddress) }
    }

    fn is_own_host(&self, name: &str) -> bool {
        let address = name.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        match self.own.and_then(|own| own.split_once("://")) {
            Some((_, own)) => host_name(own).eq_ignore_ascii_case(name),
            None => address.is_some_and(|address| self.bind.is_unspecified() || address == self.bind.to_canonical()),
        }
    }
}

/// A host without its port, an IPv6 address without its brackets.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn check(own: Option<&str>, bind: &str, site: &str, origin: &str, host: &str) -> Result<(), Rejection> {
        let headers = [("sec-fetch-site", site), ("origin", origin), ("host", host)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        OriginPolicy { own, bind: bind.parse().unwrap() }.check(&headers)
    }

    const OTHER: Result<(), Rejection> = Err(Rejection::OtherSite);
    const UNKNOWN: Result<(), Rejection> = Err(Rejection::UnknownAddress);

    #[test]
    fn with_public_url_only_forms_from_it_are_accepted() {
        let own = "https://larder.example.com";
        for (site, origin, host, expected) in [
            ("same-origin", own, "larder.example.com", Ok(())),
            ("none", "", "LARDER.example.com:443", Ok(())),
            ("same-origin", own, "127.0.0.1:8080", Ok(())),
            ("same-origin", own, "evil.example.com", UNKNOWN),
            ("same-origin", own, "10.0.0.5:8080", UNKNOWN),
            ("same-origin", own, "", UNKNOWN),
            ("same-site", own, "larder.example.com", OTHER),
            ("cross-site", own, "larder.example.com", OTHER),
            ("", own, "larder.example.com", Ok(())),
            ("", own, "evil.example.com", UNKNOWN),
            ("", "https://evil.example.com", "larder.example.com", OTHER),
            ("", "http://larder.example.com", "larder.example.com", OTHER),
            ("", "null", "larder.example.com", OTHER),
            ("", "", "larder.example.com", OTHER),
        ] {
            assert_eq!(check(Some(own), "0.0.0.0", site, origin, host), expected, "{site} {origin} {host}");
        }
    }

    #[test]
    fn without_public_url_only_this_machine_is_accepted() {
        for (bind, site, origin, host, expected) in [
            ("127.0.0.1", "", "http://127.0.0.1:8080", "127.0.0.1:8080", Ok(())),
            ("127.0.0.1", "", "http://localhost:8080", "localhost:8080", Ok(())),
            ("127.0.0.1", "", "http://[::1]:8080", "[::1]:8080", Ok(())),
            ("127.0.0.1", "same-origin", "http://127.1.2.3:8080", "127.1.2.3:8080", Ok(())),
            ("127.0.0.1", "", "http://127.0.0.1:8081", "127.0.0.1:8080", OTHER),
            ("127.0.0.1", "", "https://127.0.0.1:8080", "127.0.0.1:8080", UNKNOWN),
            ("127.0.0.1", "", "http://rebound.example:8080", "rebound.example:8080", UNKNOWN),
            ("127.0.0.1", "same-origin", "http://rebound.example:8080", "rebound.example:8080", UNKNOWN),
            ("127.0.0.1", "none", "", "rebound.example:8080", UNKNOWN),
            ("127.0.0.1", "", "http://127.0.0.1.evil.example", "127.0.0.1.evil.example", UNKNOWN),
            ("127.0.0.1", "", "http://192.168.1.5:8080", "192.168.1.5:8080", UNKNOWN),
            ("192.168.1.5", "", "http://192.168.1.5:8080", "192.168.1.5:8080", Ok(())),
            ("192.168.1.5", "same-origin", "", "192.168.1.6:8080", UNKNOWN),
            ("0.0.0.0", "same-origin", "", "192.168.1.6:8080", Ok(())),
            ("::", "", "http://[fd00::5]:8080", "[fd00::5]:8080", Ok(())),
            ("0.0.0.0", "same-origin", "", "rebound.example:8080", UNKNOWN),
            ("0.0.0.0", "cross-site", "", "192.168.1.6:8080", OTHER),
        ] {
            assert_eq!(check(None, bind, site, origin, host), expected, "{bind} {site} {origin} {host}");
        }
    }

    #[test]
    fn a_rejection_names_the_setting_to_change() {
        for program in [false, true] {
            assert!(Rejection::UnknownAddress.into_error(program).to_string().contains("PUBLIC_URL"));
        }
        assert!(Rejection::OtherSite.into_error(true).to_string().contains("header Origin is missing"));
        assert!(Rejection::OtherSite.into_error(false).to_string().contains("Open the page in Larder"));
    }
}
