//! Changes of one key, each with its line in the audit.

use std::time::Duration;

use serde_json::json;

use super::Name;
use crate::domain::actor::Actor;
use crate::domain::{Context, Error, Result, audit};

/// No end that is farther away is meant: the server counts milliseconds in 63 bits, people do not.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// As audit writes it.
pub(super) fn resource(what: impl std::fmt::Display) -> String {
    format!("redis:{what}")
}

/// Whether it was there.
pub async fn delete(ctx: &Context, actor: &Actor, name: &Name) -> Result<bool> {
    name.judge(&ctx.redis)?;
    ctx.db.check_available().await?;
    let (all, actor, name) = (ctx.clone(), actor.clone(), name.clone());
    ctx.run_to_completion(async move {
        let was_there = all.redis.browse().unlink(&[name.as_bytes().to_vec()]).await? > 0;
        if was_there {
            audit::record_with_retry(&all, &actor, "key.delete", &resource(&name), json!({})).await?;
        }
        Ok(was_there)
    })
    .await
}

/// A new end `left` from now, or none. Refused where it is farther than a hundred years; NotFound where the key is gone.
pub async fn set_ttl(ctx: &Context, actor: &Actor, name: &Name, left: Option<Duration>) -> Result<()> {
    name.judge(&ctx.redis)?;
    if left.is_some_and(|left| left.is_zero()) {
        return Err(Error::refused("ttl", "At least one second. To be rid of the key, delete it."));
    }
    if left.is_some_and(|left| left > LONGEST) {
        return Err(Error::refused("ttl", "A hundred years at most. Without an end it stays until it is deleted."));
    }
    ctx.db.check_available().await?;
    let (all, actor, name) = (ctx.clone(), actor.clone(), name.clone());
    ctx.run_to_completion(async move {
        let browse = all.redis.browse();
        let changed = browse.set_ttl(name.as_bytes(), left).await?;
        if !changed {
            // Without an end already, or gone.
            let described = browse.describe(&[name.as_bytes().to_vec()]).await?.pop();
            return if described.is_some_and(|described| described.kind.is_some()) { Ok(()) } else { Err(name.is_gone()) };
        }
        let detail = json!({ "seconds": left.map(|left| left.as_secs()) });
        audit::record_with_retry(&all, &actor, "key.expire", &resource(&name), detail).await
    })
    .await
}
