//! The ports of an S3 server, chosen so that they stay free.

use std::net::{Ipv4Addr, TcpListener};

use crate::embedded::isolation::Isolation;

/// SeaweedFS adds this to each of its ports to get the gRPC port.
pub(super) const GRPC: u16 = 10_000;

/// The S3 port, followed by the ports of the other parts of SeaweedFS (master, volume, filer, admin), and one that
/// this process reserves, so that two Larder processes do not choose the same ports before their servers have bound
/// them.
pub(super) struct Ports {
    pub first: u16,
    pub _claim: Option<TcpListener>,
}

impl Ports {
    pub const COUNT: u16 = 5;

    /// The previous ports if they are free, otherwise other free ports. All are below the range that the system
    /// uses for outgoing connections (from 32768), which could otherwise take one at any moment.
    pub fn choose(last: u16, isolation: Isolation) -> Result<Self, String> {
        for attempt in 0..200 {
            let mut random = [0; 2];
            // If that fails, the same ports are tried again, which does no harm.
            let _ = aws_lc_rs::rand::fill(&mut random);
            let any = 20_000 + u16::from_ne_bytes(random) % 450 * (Self::COUNT + 1);
            let first = if attempt == 0 && last != 0 { last } else { any };
            let Ok(claim) = TcpListener::bind((Ipv4Addr::LOCALHOST, first + Self::COUNT)) else { continue };
            if Self::are_free(first, isolation) {
                return Ok(Self { first, _claim: Some(claim) });
            }
        }
        Err("no free ports were found between 20000 and 22700".into())
    }

    fn are_free(first: u16, isolation: Isolation) -> bool {
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if isolation != Isolation::None {
            return free(first);
        }
        (first..first + Self::COUNT).all(|port| free(port) && free(port + GRPC))
    }
}
