//! Request plumbing: routes, sessions, bodies, errors and headers. Imports `view`, which renders error pages, and no page.

pub mod accept;
pub mod body;
mod compression;
pub mod error;
mod fields;
pub mod finish;
mod forwarded;
mod header_list;
pub mod held_body;
pub mod limit;
pub mod multipart;
mod origin;
pub mod query;
pub mod request;
pub mod request_middleware;
pub mod route;
pub mod routes;
pub mod session;
pub mod static_files;
