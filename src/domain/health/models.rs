//! Every model of the gateway called once, because somebody wants to know.

use serde_json::json;
use tokio::sync::Semaphore;

use super::CheckError;
use super::probes::gateway;
use crate::domain::actor::Actor;
use crate::domain::{Context, Error, Result, audit};
use crate::stores::litellm::ModelCheck;

/// Twice at once costs twice as much, and tells nothing more.
static CALLING: Semaphore = Semaphore::const_new(1);

/// Takes up to 30 s, and is recorded, because it may cost money.
pub async fn call_models(ctx: &Context, actor: &Actor) -> Result<std::result::Result<ModelCheck, CheckError>> {
    if ctx.config.litellm_url.is_none() {
        return Err(Error::NotFound("LiteLLM is not configured.".to_owned()));
    }
    let Ok(_calling) = CALLING.try_acquire() else {
        return Err(Error::Conflict("The models are being called already. It takes up to half a minute.".to_owned()));
    };
    audit::record_standalone(ctx, actor, "models.call", "litellm", audit::Outcome::Ok, json!({})).await?;
    Ok(match gateway(&ctx.config) {
        Ok(litellm) => litellm.check_models().await.map_err(CheckError::from),
        Err(fault) => Err(fault),
    })
}
