//! Larder: the admin console for the storage behind an application.

/// Floor 3, JSON: health for programs.
pub mod api;
/// Puts the floors together: serve, drain, shut down.
pub mod app;
/// The command line.
pub mod cli;
/// The one place that reads the wall clock.
pub mod clock;
/// Settings from the environment, checked once, all faults together.
pub mod config;
/// Floor 3, HTML: pages, one file each.
pub mod console;
/// Floor 2: what Larder does, one noun a module.
pub mod domain;
/// Private PostgreSQL, Redis and S3 servers for a first run and for the tests.
pub mod embedded;
/// What this process counts of its requests.
pub mod meter;
/// Whether this process wants traffic.
pub mod ready;
/// The database's tables, as Diesel knows them.
pub mod schema;
/// Floor 1: Postgres, Redis and the object store.
pub mod stores;
