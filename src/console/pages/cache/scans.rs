//! `/cache/scans/{id}`: the progress of a key scan. `/cache/keys/deletions`: counts the keys that match a pattern and
//! deletes them after confirmation. `/cache/biggest`: finds the biggest keys.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{Tab, Tabs, parents, tab_layout};
use crate::console::http::error::{Error, Result};
use crate::console::http::query::Form;
use crate::console::http::session::{Admin, see_other};
use crate::console::pages::refused_page;
use crate::console::pages::{Refusal, ok, unprocessable};
use crate::console::view::badge::Badge;
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::keyspace::{self, LargeKey, Name, Scan, ScanKind, ScanState, typed};
use crate::domain::{self, Context};

#[derive(Template)]
#[template(path = "pages/cache/scans.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub scan: Scan,
    pub typed: String,
    pub refusal: Refusal,
}

refused_page!(ShowPage);

impl ShowPage {
    fn share(&self) -> f64 {
        if self.scan.state == ScanState::Done { 100.0 } else { self.scan.examined as f64 / self.scan.total.max(1) as f64 * 100.0 }
    }

    fn share_text(&self) -> String {
        format!("{:.0}", self.share())
    }

    fn stop_url(&self) -> String {
        format!("{}/stop", paths::cache_scan(self.scan.id))
    }

    fn search_url(&self) -> String {
        paths::cache_keys(&[("match", &self.scan.pattern_text())])
    }

    fn badge(&self) -> Badge {
        match self.scan.state {
            ScanState::Running => Badge::new("off", "retry", "Running"),
            ScanState::Done => Badge::new("ok", "check", "Done"),
            ScanState::Stopped => Badge::new("warn", "pause", "Stopped"),
            ScanState::Failed(_) => Badge::new("bad", "close", "Failed"),
        }
    }

    fn failure(&self) -> Option<&str> {
        match &self.scan.state {
            ScanState::Failed(why) => Some(why),
            _ => None,
        }
    }

    /// The label of the number of matches.
    fn matched_label(&self) -> &'static str {
        match (self.scan.kind, self.scan.is_running()) {
            (ScanKind::Count, true) => "Matches so far",
            (ScanKind::Count, false) => "Matches",
            (ScanKind::Delete, true) => "Deleted so far",
            (ScanKind::Delete, false) => "Deleted",
            (ScanKind::Biggest, _) => "Keys compared",
        }
    }

    fn is_done(&self) -> bool {
        self.scan.state == ScanState::Done
    }

    fn may_be_deleted(&self) -> bool {
        self.scan.kind == ScanKind::Count && self.is_done() && self.scan.matched > 0
    }

    fn is(&self, kind: &str) -> bool {
        let own = match self.scan.kind {
            ScanKind::Count => "count",
            ScanKind::Delete => "delete",
            ScanKind::Biggest => "biggest",
        };
        own == kind
    }

    /// `None` if the name is too long for a URL.
    fn big_url(large_key: &LargeKey) -> Option<String> {
        Name::parse(large_key.name.clone()).ok().map(|name| paths::cache_key(name.as_bytes(), &[]))
    }

    fn name_url(name: &[u8]) -> String {
        paths::cache_key(name, &[])
    }

    fn unit(large_key: &LargeKey) -> &'static str {
        match large_key.kind.as_str() {
            "string" => "bytes",
            "hash" => "fields",
            "set" | "zset" => "members",
            "stream" => "entries",
            _ => "elements",
        }
    }
}

#[derive(Template)]
#[template(path = "pages/cache/scans_new.html")]
pub struct BiggestPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub running: Option<Uuid>,
}

fn id(path: &str) -> Result<Uuid> {
    path.parse().map_err(|_| Error::NotFound("Key scan not found.".to_owned()))
}

fn show_page(admin: &Admin, scan: Scan) -> ShowPage {
    let title = match scan.kind {
        ScanKind::Count => "Delete by pattern",
        ScanKind::Delete => "Deleting by pattern",
        ScanKind::Biggest => "Biggest keys",
    };
    let parents = match scan.kind {
        ScanKind::Biggest => parents("Biggest keys", "/cache/biggest"),
        _ => parents("Keys", "/cache/keys"),
    };
    ShowPage { layout: admin.layout(title, Section::Cache).with_parents(parents), scan, typed: String::new(), refusal: Refusal::default() }
}

pub async fn show(admin: Admin, ctx: web::Data<Context>, path: web::Path<String>) -> Result<HttpResponse> {
    let scan = keyspace::show(&ctx, id(&path)?).await?;
    let running = scan.is_running();
    let mut answer = ok(&show_page(&admin, scan))?;
    if running {
        answer.headers_mut().insert(actix_web::http::header::REFRESH, actix_web::http::header::HeaderValue::from_static("1"));
    }
    Ok(answer)
}

pub async fn stop(admin: Admin, ctx: web::Data<Context>, path: web::Path<String>) -> Result<HttpResponse> {
    let id = id(&path)?;
    keyspace::stop(&ctx, id).await?;
    Ok(admin.redirect(&paths::cache_scan(id), Flash::done("Stopping…")))
}

pub async fn index(admin: Admin, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let running = keyspace::running(&ctx).await?;
    let (layout, tabs) = tab_layout(&admin, Tab::Biggest);
    ok(&BiggestPage { layout, tabs, running })
}

pub async fn create(admin: Admin, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let started = start(&admin, &ctx, ScanKind::Biggest, Vec::new()).await?;
    Ok(redirect(&admin, started, "/cache/biggest"))
}

#[derive(Deserialize)]
pub struct DeletionForm {
    #[serde(rename = "match", default)]
    pattern: String,
    /// The scan that counted the matching keys. Its pattern is used from then on; `confirm` is that pattern typed again.
    #[serde(default)]
    counted: String,
    #[serde(default)]
    confirm: String,
}

pub async fn delete(admin: Admin, ctx: web::Data<Context>, form: Form<DeletionForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    if form.counted.is_empty() {
        let started = start(&admin, &ctx, ScanKind::Count, typed(form.pattern.trim())).await?;
        return Ok(redirect(&admin, started, "/cache/keys"));
    }
    let scan = keyspace::show(&ctx, id(&form.counted)?).await?;
    if scan.kind != ScanKind::Count || scan.state != ScanState::Done {
        return Err(Error::Conflict("The matching keys have not been counted. Count them first.".to_owned()));
    }
    if form.confirm.trim() != scan.pattern_text() {
        let why = format!("Type {} to delete the matching keys.", scan.pattern_text());
        let refusal = Refusal { field: "confirm", why };
        return unprocessable(&ShowPage { typed: form.confirm, refusal, ..show_page(&admin, scan) });
    }
    let started = start(&admin, &ctx, ScanKind::Delete, scan.pattern).await?;
    if matches!(started, Start::Started(_)) {
        keyspace::discard(&ctx, scan.id).await?;
    }
    Ok(redirect(&admin, started, &paths::cache_scan(scan.id)))
}

enum Start {
    Started(Uuid),
    /// The message says why.
    NotStarted(Flash),
}

async fn start(admin: &Admin, ctx: &Context, kind: ScanKind, pattern: Vec<u8>) -> Result<Start> {
    match keyspace::start(ctx, &admin.actor, kind, pattern).await {
        Ok(id) => Ok(Start::Started(id)),
        Err(domain::Error::Conflict(why)) => Ok(Start::NotStarted(Flash::warn(why))),
        Err(domain::Error::Refused { why, .. }) => Ok(Start::NotStarted(Flash::bad(why))),
        Err(error) => Err(error.into()),
    }
}

/// To the progress of the scan, or back with the message.
fn redirect(admin: &Admin, started: Start, back: &str) -> HttpResponse {
    match started {
        Start::Started(id) => see_other(&paths::cache_scan(id)),
        Start::NotStarted(message) => admin.redirect(back, message),
    }
}
