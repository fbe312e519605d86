//! One module per external server: connections, timeouts and thin operations. Contains no domain types.

pub mod availability;
pub mod connect_error;
pub mod http;
pub mod litellm;
pub mod pool_usage;
pub mod postgres;
pub mod qdrant;
pub mod redis;
pub mod s3;
mod tls;
