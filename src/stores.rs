//! Floor 1, one module a server: connect, time-outs, thin operations. No domain words.

pub mod connect_error;
pub mod http;
pub mod litellm;
pub mod postgres;
pub mod qdrant;
pub mod redis;
pub mod s3;
mod tls;
