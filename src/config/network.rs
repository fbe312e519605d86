//! The addresses that a proxy may have: a single one, or a network, because pods and tasks get new addresses at each
//! start.

use std::net::IpAddr;
use std::str::FromStr;

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// The length of the prefix in bits.
    bits: u8,
}

impl Network {
    pub fn is_everybody(&self) -> bool {
        self.bits == 0
    }

    /// Whether the address is in one of the networks.
    pub fn any_contains(networks: &[Self], address: &IpAddr) -> bool {
        networks.iter().any(|network| network.contains(address))
    }

    pub fn contains(&self, address: &IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32 - self.bits),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128 - self.bits),
            _ => false,
        }
    }
}

/// Without the lowest bits.
fn same(one: u128, other: u128, lowest: u8) -> bool {
    (one ^ other).checked_shr(lowest.into()).unwrap_or_default() == 0
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(drop)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.unwrap_or(most);
        if bits > most {
            return Err(());
        }
        // Peers with an IPv4 address mapped to IPv6 are compared as IPv4.
        let (address, bits) = match address.to_canonical() {
            IpAddr::V4(mapped) if address.is_ipv6() => (IpAddr::V4(mapped), bits.checked_sub(96).ok_or(())?),
            address => (address, bits),
        };
        let lowest = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) & !(u128::MAX << (32 - bits)),
            IpAddr::V6(address) => address.to_bits() & u128::MAX.checked_shl(u32::from(128 - bits)).map_or(u128::MAX, |mask| !mask),
        };
        // 10.1.2.3/8 could mean one address or sixteen million, so it is rejected.
        if lowest == 0 { Ok(Self { address, bits }) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_as_it_does() {
        let holds = |network: &str, address: &str| network.parse::<Network>().unwrap().contains(&address.parse().unwrap());
        assert!(holds("10.0.0.2", "10.0.0.2") && !holds("10.0.0.2", "10.0.0.3"));
        assert!(holds("10.244.0.0/16", "10.244.9.1") && !holds("10.244.0.0/16", "10.245.0.1"));
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1") && holds("::/0", "2001:db8::1"));
        assert!(holds("::ffff:10.0.0.2", "10.0.0.2") && holds("::ffff:10.0.0.0/104", "10.9.9.9"));
        for bad in [
            "10.1.2.3/8",
            "fd00::1/8",
            "::ffff:0:0/90",
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "/8",
            "proxy",
            "10.0.0.0/8/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
