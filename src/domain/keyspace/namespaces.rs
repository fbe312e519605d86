//! What stands under `cache:{namespace}:`, Larder's own and other programs'; clearing one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::change::resource;
use super::sample::{Group, Sample};
use crate::domain::actor::Actor;
use crate::domain::cache::{self, Cleared, NamespaceStats, Spec};
use crate::domain::{Context, Error, Result, audit};
use crate::stores::redis::literal;

/// A page waits no longer for a count.
const COUNTING: Duration = Duration::from_secs(1);

pub struct Namespace {
    pub name: String,
    /// Of the sample; `None`: no key of it was among those looked at.
    pub group: Option<Group>,
    /// Of all replicas in the last hour; `None` for other programs' namespaces, whose look-ups Redis does not tell.
    pub stats: Option<NamespaceStats>,
    pub clearable: bool,
    /// How long a value is kept, of our own.
    pub kept: Option<Duration>,
}

fn spec(name: &str) -> Option<Spec> {
    cache::namespaces().into_iter().find(|spec| spec.name == name)
}

/// Our own first, then the others, each by name.
pub async fn namespaces(ctx: &Context, sample: &Sample) -> Vec<Namespace> {
    let totals = cache::last_hour(ctx).await.unwrap_or_default();
    let mut groups = groups(ctx, sample);
    let own = cache::namespaces().map(|spec| Namespace {
        name: spec.name.to_owned(),
        group: groups.remove(spec.name),
        stats: Some(totals.get(spec.name).copied().unwrap_or_default()),
        clearable: spec.clearable,
        kept: Some(spec.fresh + spec.stale),
    });
    let own: Vec<Namespace> = own.into();
    let others = groups.into_iter().map(|(name, group)| Namespace { name, group: Some(group), stats: None, clearable: true, kept: None });
    own.into_iter().chain(others).collect()
}

/// By the name between the second and the third colon; names that are no text are left to the search.
fn groups(ctx: &Context, sample: &Sample) -> BTreeMap<String, Group> {
    let begin = format!("{}cache:", ctx.redis.prefix());
    let named = sample.groups.iter().filter_map(|group| {
        let name = group.prefix.strip_prefix(begin.as_bytes())?.strip_suffix(b":")?;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains(':'))?;
        Some((name.to_owned(), group.clone()))
    });
    named.collect()
}

/// The pattern of another program's namespace.
pub fn pattern(ctx: &Context, name: &str) -> Vec<u8> {
    [literal(format!("{}cache:{name}:", ctx.redis.prefix()).as_bytes()), b"*".to_vec()].concat()
}

/// Whether it is one of ours, which is cleared at once.
pub fn is_own(name: &str) -> bool {
    spec(name).is_some()
}

/// Values of a namespace of ours, as many as are found in a second: they may stand among millions of other keys.
/// NotFound for any other; Refused for one that clears itself.
pub async fn count(ctx: &Context, name: &str) -> Result<Cleared> {
    let began = Instant::now();
    Ok(cache::count(ctx, &clearable(name)?, |_| began.elapsed() < COUNTING).await?)
}

/// How many there were. Whoever asks next computes anew.
pub async fn clear(ctx: &Context, actor: &Actor, name: &str) -> Result<u64> {
    let spec = clearable(name)?;
    ctx.db.check_available().await?;
    let (all, actor) = (ctx.clone(), actor.clone());
    ctx.run_to_completion(async move {
        let cleared = cache::clear(&all, &spec, |_| true).await?;
        let detail = json!({ "deleted": cleared.values });
        audit::record_with_retry(&all, &actor, "cache.clear", &resource(format!("cache:{}:*", spec.name)), detail).await?;
        Ok(cleared.values)
    })
    .await
}

fn clearable(name: &str) -> Result<Spec> {
    let spec = spec(name).ok_or_else(|| Error::NotFound(format!("Larder has no namespace named {name}.")))?;
    if spec.clearable {
        Ok(spec)
    } else {
        Err(Error::refused("namespace", format!("{name} holds copies of a few seconds, which end by themselves.")))
    }
}
