//! URLs that lead to this machine.

/// Host and port of `url`, if the host is a loopback address: no other machine can reach it.
pub fn local_host(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let host = url.host()?;
    let is_local = match &host {
        url::Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        url::Host::Ipv4(address) => address.is_loopback() || address.is_unspecified(),
        url::Host::Ipv6(address) => address.is_loopback() || address.is_unspecified(),
    };
    is_local.then(|| url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_recognized() {
        for (url, host) in [
            ("http://127.0.0.1:21680", "127.0.0.1:21680"),
            ("http://127.8.0.1", "127.8.0.1"),
            ("http://[::1]:9000", "[::1]:9000"),
            ("https://localhost", "localhost"),
            ("http://store.localhost:9000", "store.localhost:9000"),
            ("http://0.0.0.0:9000", "0.0.0.0:9000"),
        ] {
            assert_eq!(local_host(url).as_deref(), Some(host));
        }
        for url in ["https://files.example.com", "http://10.0.0.1:9000", "http://[2001:db8::1]"] {
            assert_eq!(local_host(url), None, "{url}");
        }
    }
}
