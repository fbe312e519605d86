//! Namespaces under `cache:{namespace}:`, Larder's own and those of other applications; clearing a namespace.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::change::resource;
use super::sample::{Group, Sample};
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action};
use crate::domain::cache::{self, Cleared, NamespaceStats, Spec};
use crate::domain::{Context, Error, Result};
use crate::stores::redis::literal;

/// Time limit of a page's count.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

pub struct Namespace {
    pub name: String,
    /// From the sample; `None`: the sample contains no key of it.
    pub group: Option<Group>,
    /// Of all replicas in the last hour; `None` for other applications' namespaces, whose lookups Redis does not
    /// report.
    pub stats: Option<NamespaceStats>,
    pub clearable: bool,
    /// TTL of values in Larder's own namespaces.
    pub ttl: Option<Duration>,
}

fn spec<'a>(ctx: &'a Context, name: &str) -> Option<&'a Spec> {
    ctx.cache.namespaces().iter().find(|spec| spec.name == name)
}

/// Larder's own first, then the others, each sorted by name.
pub async fn namespaces(ctx: &Context, sample: &Sample) -> Vec<Namespace> {
    let totals = cache::last_hour(ctx).await.unwrap_or_default();
    let mut groups = groups(ctx, sample);
    let own = ctx.cache.namespaces().iter().map(|spec| Namespace {
        name: spec.name.to_owned(),
        group: groups.remove(spec.name),
        stats: Some(totals.get(spec.name).copied().unwrap_or_default()),
        clearable: spec.clearable,
        ttl: Some(spec.fresh + spec.stale),
    });
    let own: Vec<Namespace> = own.collect();
    let others = groups.into_iter().map(|(name, group)| Namespace { name, group: Some(group), stats: None, clearable: true, ttl: None });
    own.into_iter().chain(others).collect()
}

/// Grouped by the name between the second and third colon; names that are not text are only found by searching.
fn groups(ctx: &Context, sample: &Sample) -> BTreeMap<String, Group> {
    let begin = format!("{}cache:", ctx.redis.prefix());
    let named = sample.groups.iter().filter_map(|group| {
        let name = group.prefix.strip_prefix(begin.as_bytes())?.strip_suffix(b":")?;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains(':'))?;
        Some((name.to_owned(), group.clone()))
    });
    named.collect()
}

/// The pattern of another application's namespace.
pub fn pattern(ctx: &Context, name: &str) -> Vec<u8> {
    [literal(format!("{}cache:{name}:", ctx.redis.prefix()).as_bytes()), b"*".to_vec()].concat()
}

/// Whether it is one of Larder's namespaces, which can be cleared directly.
pub fn is_own(ctx: &Context, name: &str) -> bool {
    spec(ctx, name).is_some()
}

/// Number of values in one of Larder's namespaces, as far as found within a second among all other keys. NotFound for
/// other namespaces; Refused for one that cannot be cleared.
pub async fn count(ctx: &Context, name: &str) -> Result<Cleared> {
    let began = Instant::now();
    Ok(cache::count(ctx, &clearable(ctx, name)?, |_| began.elapsed() < COUNT_TIMEOUT).await?)
}

/// Returns the number of deleted values. Later lookups compute new ones.
pub async fn clear(ctx: &Context, actor: &Actor, name: &str) -> Result<u64> {
    let spec = clearable(ctx, name)?;
    ctx.db.check_available().await?;
    let (task_ctx, actor) = (ctx.clone(), actor.clone());
    ctx.run_to_completion(async move {
        let cleared = cache::clear(&task_ctx, &spec, |_| true).await?;
        let detail = json!({ "deleted": cleared.values });
        audit::record_with_retry(&task_ctx, &actor, Action::CacheClear, &resource(format!("cache:{}:*", spec.name)), detail).await?;
        Ok(cleared.values)
    })
    .await
}

fn clearable(ctx: &Context, name: &str) -> Result<Spec> {
    let spec = *spec(ctx, name).ok_or_else(|| Error::NotFound(format!("Namespace {name} not found.")))?;
    if spec.clearable {
        Ok(spec)
    } else {
        Err(Error::refused("namespace", format!("{name} holds copies that expire after a few seconds, so it does not need to be cleared.")))
    }
}
