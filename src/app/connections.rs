//! Limits the open connections of one client. A connection costs little, but file descriptors are limited.
//!
//! The limit applies to the peers of connections. Behind a trusted proxy, all connections have the address of the
//! proxy, so the proxy must limit the connections of its clients.

use std::any::Any;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;

use actix_web::rt::net::TcpStream;

use crate::config::Network;
use crate::domain::limits;
use crate::domain::slots::{Holder, Slot, Slots};

/// More than one user needs for as many uploads and downloads as it may have by default (256 and 128).
pub const MAX_CONNECTIONS: usize = 512;

#[derive(Clone)]
pub(super) struct Connections {
    trusted_proxies: Arc<[Network]>,
    open: Slots,
}

impl Connections {
    pub fn new(trusted_proxies: &[Network]) -> Self {
        Self { trusted_proxies: trusted_proxies.into(), open: Slots::new("connections", usize::MAX) }
    }

    /// Counts a new connection, or closes it if its client has too many. `None`: closed, or not counted.
    pub fn admit(&self, stream: &dyn Any) -> Option<Slot> {
        let stream = stream.downcast_ref::<TcpStream>()?;
        let address = stream.peer_addr().ok()?.ip().to_canonical();
        if Network::any_contains(&self.trusted_proxies, &address) {
            return None;
        }
        let counted = self.count(address);
        if counted.is_none() {
            // The server reads the end of the connection and drops it. It cannot be refused earlier.
            let _ = socket2::SockRef::from(stream).shutdown(Shutdown::Both);
        }
        counted
    }

    fn count(&self, address: IpAddr) -> Option<Slot> {
        self.open.take(&[(Holder::Subject(limits::holder(Some(address))), MAX_CONNECTIONS)]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_limit() {
        let connections = Connections::new(&[]);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut held: Vec<Slot> = std::iter::from_fn(|| connections.count(one)).collect();
        assert_eq!(held.len(), MAX_CONNECTIONS);
        let last = connections.count(other).unwrap();
        held.pop();
        assert!(connections.count(one).is_some());
        drop((held, last));
        assert_eq!(connections.open.count(), 0);
    }
}
