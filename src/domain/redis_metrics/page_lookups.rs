//! The lookups by pages of all replicas, which are not traffic of applications.

use crate::domain::Context;
use crate::stores::redis::{Commands, Lookups};

/// Hits and misses since the key was created.
const KEY: &str = "larder:page-lookups";

/// Adds those of this process and returns the totals; `None` without a response, in which case they are added later.
pub(super) async fn report(ctx: &Context, redis: &Commands<'_>) -> Option<Lookups> {
    let own = ctx.redis.take_page_lookups();
    match redis.add_and_read(KEY, &[("hits", own.hits), ("misses", own.misses)]).await.as_deref() {
        Ok([hits, misses]) => Some(Lookups { hits: *hits, misses: *misses }),
        _ => {
            ctx.redis.return_page_lookups(own);
            None
        }
    }
}
