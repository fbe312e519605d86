//! `/cache/namespaces`: the contents of the cache by key prefix, with hit ratios.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::metrics::percent;
use super::{Tab, Tabs, cost_text, parents, tab_layout};
use crate::console::http::error::Result;
use crate::console::http::query::Form;
use crate::console::http::session::{Admin, Viewer, see_other};
use crate::console::pages::ok;
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths, units};
use crate::domain::cache::Cleared;
use crate::domain::keyspace::namespaces::{self, Namespace};
use crate::domain::keyspace::{self, Group, LIVES, Sample, ScanKind};
use crate::domain::keyspace::{Cost, literal};
use crate::domain::{self, Context, limits};

/// Key prefixes in the table.
const MAX_PREFIXES: usize = 60;

#[derive(Template)]
#[template(path = "pages/cache/namespaces.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub sample: Sample,
    pub namespaces: Vec<Namespace>,
    pub cost: Cost,
}

impl IndexPage {
    fn cost(&self) -> String {
        cost_text(self.cost)
    }

    fn keys(&self, group: &Group) -> String {
        units::count_text(self.sample.scaled(group.keys))
    }

    fn size(&self, group: &Group) -> String {
        units::memory_text(self.sample.scaled(group.bytes))
    }

    fn share(&self, group: &Group) -> f64 {
        100.0 * group.keys as f64 / self.sample.sampled.max(1) as f64
    }

    fn share_text(&self, group: &Group) -> String {
        percent(self.share(group))
    }

    /// "±1.6 %", or that all keys were sampled.
    fn error(&self) -> String {
        if self.sample.whole { "all keys sampled".to_owned() } else { format!("±{}", percent(self.sample.error())) }
    }

    fn own_keys(&self) -> String {
        units::count_text(self.sample.scaled(self.sample.own))
    }

    /// The largest prefixes, sorted so that each follows its parent.
    fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.sample.groups.iter().take(MAX_PREFIXES).collect();
        groups.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        groups
    }

    fn pattern_url(group: &Group) -> Option<String> {
        let pattern = [literal(&group.prefix), b"*".to_vec()].concat();
        let pattern = String::from_utf8(pattern).ok()?;
        (!group.prefix.is_empty()).then(|| paths::cache_keys(&[("match", &pattern)]))
    }

    fn indent(group: &Group) -> usize {
        group.depth.min(3)
    }

    /// The most common class of remaining TTLs.
    fn most_common_ttl(group: &Group) -> &'static str {
        let most = group.lives.iter().enumerate().max_by_key(|(_, count)| **count).map_or(0, |(at, _)| at);
        LIVES.get(most).map_or("no expiry", |(_, label)| label)
    }

    /// The classes of remaining TTLs with their shares.
    fn ttls(group: &Group) -> String {
        let labels = LIVES.iter().map(|(_, label)| *label).chain(["no expiry"]);
        let shares = labels.zip(group.lives).filter(|(_, count)| *count > 0);
        let text: Vec<String> =
            shares.map(|(label, count)| format!("{label} {}", percent(100.0 * count as f64 / group.keys.max(1) as f64))).collect();
        text.join(", ")
    }

    fn ratio(namespace: &Namespace) -> Option<f64> {
        Some(100.0 * namespace.stats?.hit_ratio()?)
    }

    fn ratio_text(ratio: &f64) -> String {
        percent(*ratio)
    }

    fn p95(namespace: &Namespace) -> String {
        let p95 = namespace.stats.and_then(|stats| stats.lookups().p95);
        p95.map_or_else(|| "–".to_owned(), |p95| format!("≤ {}{}ms", p95.as_secs_f64() * 1000.0, units::THIN_SPACE))
    }

    fn ttl(namespace: &Namespace) -> Option<String> {
        namespace.ttl.map(|kept| units::duration_words(i64::try_from(kept.as_secs()).unwrap_or(i64::MAX)))
    }
}

pub async fn index(viewer: Viewer, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let browse = ctx.redis.browse();
    let sample = keyspace::sample(&ctx, &browse).await?;
    let mut namespaces = namespaces::namespaces(&ctx, &sample).await;
    let (layout, tabs) = tab_layout(&viewer, Tab::Namespaces);
    if !layout.is_admin() {
        // Keys of other applications may contain personal data or tokens.
        namespaces.retain(|namespace| namespace.stats.is_some());
    }
    ok(&IndexPage { layout, tabs, sample, namespaces, cost: browse.cost() })
}

pub async fn sample(viewer: Viewer, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let _slot = limits::admit_scan(&ctx, &viewer.actor).await?;
    keyspace::sample_again(&ctx, &ctx.redis.browse()).await?;
    Ok(viewer.redirect("/cache/namespaces", Flash::done("Keys sampled again.")))
}

#[derive(Template)]
#[template(path = "pages/cache/namespaces_clear.html")]
pub struct ClearPage {
    pub layout: Layout,
    pub namespace: String,
    pub counted: Cleared,
}

#[derive(Deserialize)]
pub struct ClearForm {
    namespace: String,
    #[serde(default)]
    confirm: String,
}

/// Larder's own namespaces are counted and cleared immediately. Those of other applications may be of any size and are
pub async fn clear(admin: Admin, ctx: web::Data<Context>, form: Form<ClearForm>) -> Result<HttpResponse> {
    let ClearForm { namespace, confirm } = form.read().await?;
    let _slot = limits::admit_scan(&ctx, &admin.actor).await?;
    let refused = |why: String| Ok(admin.redirect("/cache/namespaces", Flash::warn(why)));
    let outcome = match (namespaces::is_own(&ctx, &namespace), confirm == "1") {
        (false, _) => {
            let pattern = namespaces::pattern(&ctx, &namespace);
            keyspace::start(&ctx, &admin.actor, ScanKind::Count, pattern).await.map(|id| see_other(&paths::cache_scan(id)))
        }
        (true, false) => match namespaces::count(&ctx, &namespace).await {
            Ok(counted) => {
                let parents = parents("Namespaces", "/cache/namespaces");
                let layout = admin.layout(format!("Clear {namespace}?"), Section::Cache).with_parents(parents);
                return ok(&ClearPage { layout, namespace, counted });
            }
            Err(error) => Err(error),
        },
        (true, true) => namespaces::clear(&ctx, &admin.actor, &namespace).await.map(|count| {
            let message = format!("{namespace} cleared: {} values deleted.", units::count_text(count));
            admin.redirect("/cache/namespaces", Flash::done(message))
        }),
    };
    match outcome {
        Ok(answer) => Ok(answer),
        Err(domain::Error::Conflict(why) | domain::Error::Refused { why, .. }) => refused(why),
        Err(error) => Err(error.into()),
    }
}
