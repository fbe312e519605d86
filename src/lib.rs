//! Larder: the admin console for the storage behind an application.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod domain;
pub mod embedded;
pub mod schema;
pub mod stores;
