//! Shared by all test binaries: real servers, a running instance per test, a client, a browser.
//!
//! ```ignore
//! let app = TestApp::start().await;                     // own database, Redis prefix and bucket
//! let admin = app.sign_in(Role::Admin).await;           // own cookie jar, follows no redirects
//! let page = admin.get("/buckets").await.expect_status(200);
//! assert_eq!(page.text_of("h1"), "Buckets");
//! ```
//! A test that stops, freezes or kills a server uses its own servers: `TestApp::with_own_servers()`.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

mod app;
mod browser;
mod cleanup;
mod client;
mod http_stub;
mod litellm;
mod moto;
mod page;
mod pooler;
mod proxy;
mod python_server;
mod qdrant;
mod redis_server;
mod s3_front;
mod servers;
mod slow_link;
mod tcp_switch;
mod tls;
mod wait;

pub use app::{PASSWORD, TestApp};
pub use browser::{Browser, Settings};
pub use cleanup::directory as scratch;
pub use client::Client;
pub use http_stub::{HttpStub, ReceivedRequest, Reply};
pub use litellm::LiteLlmServer;
pub use moto::moto;
pub use page::Page;
pub use pooler::Pooler;
pub use proxy::{Fault, Proxy, Which};
pub use qdrant::{QDRANT_KEY, qdrant};
pub use redis_server::RedisServer;
pub use s3_front::{Forward, s3_client, s3_error, s3_front};
pub use servers::Set;
pub use slow_link::{LinkState, SlowLink};
pub use tcp_switch::TcpSwitch;
pub use tls::{certificates, tls_front};
pub use wait::{eventually, eventually_within};
