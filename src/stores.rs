//! Floor 1, one module a server: connect, time-outs, thin operations. No domain words.

pub mod postgres;
pub mod reach;
pub mod redis;
pub mod s3;
mod tls;
