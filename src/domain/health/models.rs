//! Calls every model of the gateway on request.

use serde_json::json;
use tokio::sync::Semaphore;

use super::CheckError;
use super::probes::gateway;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action};
use crate::domain::{Context, Error, Result};
use crate::stores::litellm::ModelCheck;

/// Concurrent calls would cost twice as much without giving more information.
static CALL_SLOT: Semaphore = Semaphore::const_new(1);

/// Takes up to 30 s. Audited, because it may cost money.
pub async fn call_models(ctx: &Context, actor: &Actor) -> Result<std::result::Result<ModelCheck, CheckError>> {
    if ctx.config.litellm_url.is_none() {
        return Err(Error::NotFound("LiteLLM is not configured.".to_owned()));
    }
    let Ok(_calling) = CALL_SLOT.try_acquire() else {
        return Err(Error::Conflict("The models are already being called. This takes up to 30 seconds.".to_owned()));
    };
    audit::record_standalone(ctx, actor, Action::ModelsCall, "litellm", audit::Outcome::Ok, json!({})).await?;
    Ok(match gateway(&ctx.config) {
        Ok(litellm) => litellm.check_models().await.map_err(CheckError::from),
        Err(error) => Err(error),
    })
}
