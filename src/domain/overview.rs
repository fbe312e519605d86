//! The figures of the first page.

use super::actor::Actor;
use super::audit::Event;
use super::{Context, Result};

pub struct Overview {
    /// `None`: nothing is counted yet.
    pub stored: Option<Stored>,
    pub uploads_today: i64,
    pub bytes_today: i64,
    pub failed_today: i64,
    /// Files stored in each hour of today (UTC), 24 of them.
    pub by_hour: [i64; 24],
    pub events: Vec<Event>,
}

pub struct Stored {
    pub objects: u64,
    pub bytes: u64,
    pub counted: usize,
    pub buckets: usize,
}

pub async fn overview(ctx: &Context, actor: &Actor) -> Result<Overview> {
    todo!()
}
