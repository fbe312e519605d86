//! Floor 3, HTML.

pub mod assets;
pub mod request;
