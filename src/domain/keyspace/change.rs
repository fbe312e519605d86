//! Changes of a single key, each with its audit event.

use std::time::Duration;

use serde_json::json;

use super::Name;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action};
use crate::domain::{Context, Error, Result};

/// Longer TTLs are rejected as a mistake.
const MAX_TTL: Duration = Duration::from_secs(100 * 366 * 86_400);

/// The resource name in audit events.
pub(super) fn resource(what: impl std::fmt::Display) -> String {
    format!("redis:{what}")
}

/// Returns whether the key existed.
pub async fn delete(ctx: &Context, actor: &Actor, name: &Name) -> Result<bool> {
    name.check_visible(&ctx.redis)?;
    ctx.db.check_available().await?;
    let (task_ctx, actor, name) = (ctx.clone(), actor.clone(), name.clone());
    ctx.run_to_completion(async move {
        let existed = task_ctx.redis.browse().unlink(&[name.as_bytes().to_vec()]).await? > 0;
        if existed {
            audit::record_with_retry(&task_ctx, &actor, Action::KeyDelete, &resource(&name), json!({})).await?;
        }
        Ok(existed)
    })
    .await
}

/// Sets the TTL to `ttl`, or removes it. Refused if it exceeds 100 years; NotFound if the key does not exist.
pub async fn set_ttl(ctx: &Context, actor: &Actor, name: &Name, ttl: Option<Duration>) -> Result<()> {
    name.check_visible(&ctx.redis)?;
    if ttl.is_some_and(|ttl| ttl.is_zero()) {
        return Err(Error::refused("ttl", "Enter at least one second. To remove the key, delete it."));
    }
    if ttl.is_some_and(|ttl| ttl > MAX_TTL) {
        return Err(Error::refused("ttl", "Enter at most 100 years. Without expiry, the key is kept until it is deleted."));
    }
    ctx.db.check_available().await?;
    let (task_ctx, actor, name) = (ctx.clone(), actor.clone(), name.clone());
    ctx.run_to_completion(async move {
        let browse = task_ctx.redis.browse();
        let changed = browse.set_ttl(name.as_bytes(), ttl).await?;
        if !changed {
            // The key had no TTL, or it does not exist.
            let described = browse.describe(&[name.as_bytes().to_vec()]).await?.pop();
            return if described.is_some_and(|described| described.kind.is_some()) { Ok(()) } else { Err(name.not_found()) };
        }
        let detail = json!({ "seconds": ttl.map(|ttl| ttl.as_secs()) });
        audit::record_with_retry(&task_ctx, &actor, Action::KeyExpire, &resource(&name), detail).await
    })
    .await
}
