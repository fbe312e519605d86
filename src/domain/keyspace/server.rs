//! Facts about the server (version, memory, uptime), as far as the ACL of the browsing user permits.

use crate::domain::{Context, Result};
use crate::stores::redis::{self, BrowseCommands, Client};

/// The server's answer, or the name of the Redis user that lacks the permission.
pub type Permitted<T> = std::result::Result<T, String>;

pub(super) fn permitted<T>(ctx: &Context, answer: std::result::Result<T, redis::Error>) -> Result<Permitted<T>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(redis::Error::NotPermitted) => Ok(Err(ctx.redis.browse_user().to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The connected clients, in the server's order.
pub async fn clients(ctx: &Context, browse: &BrowseCommands<'_>) -> Result<Permitted<Vec<Client>>> {
    permitted(ctx, browse.clients().await)
}

/// Name and value of every setting.
pub async fn settings(ctx: &Context, browse: &BrowseCommands<'_>) -> Result<Permitted<Vec<(String, String)>>> {
    permitted(ctx, browse.settings("*").await)
}
