//! `/livez`, `/readyz`, `/health` as `application/health+json`, `/health/{service}`: all read only memory.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::console::error::{self, not_found};
use crate::console::pages::{self, health::RenderCache};
use crate::console::session::Visitor;
use crate::domain::Context;
use crate::domain::health::{Service, Snapshot, State};
use crate::meter::Meter;
use crate::ready::Ready;

pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

pub async fn readyz(ready: web::Data<Ready>) -> HttpResponse {
    if ready.get() {
        HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable()
            .insert_header((header::RETRY_AFTER, "2"))
            .content_type("text/plain; charset=utf-8")
            .body("not ready\n")
    }
}

/// One service, in the format that the applications behind Larder expect.
pub async fn service(ctx: web::Data<Context>, name: web::Path<String>, req: HttpRequest) -> HttpResponse {
    let Some(service) = Service::of_slug(&name) else { return not_found(req).await };
    let Snapshot { healthy, latency_ms, state, pool, .. } = ctx.health.one(service);
    let body = if matches!(service, Service::Qdrant | Service::LiteLlm) {
        json!({ "healthy": healthy, "latency_ms": latency_ms, "connected": healthy, "configured": state != State::NotConfigured })
    } else {
        let pool_size = pool.map_or(0, |(_, size, _)| size);
        json!({ "healthy": healthy, "latency_ms": latency_ms, "connected": healthy, "pool_size": pool_size })
    };
    let is_ok = healthy || state == State::NotConfigured;
    let mut response = if is_ok { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(body)
}

/// The page for browsers, `application/health+json` for programs.
pub async fn whole(
    visitor: Visitor,
    ctx: web::Data<Context>,
    meter: web::Data<Meter>,
    render_cache: web::Data<RenderCache>,
    req: HttpRequest,
) -> error::Result<HttpResponse> {
    let mut response = match wants_html(&req) {
        true => pages::health::show(&visitor, &ctx, &meter, &render_cache)?,
        false => document(&ctx, visitor.is_signed_in()),
    };
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept, Cookie"));
    Ok(response)
}

/// Whether the client prefers the page to JSON.
fn wants_html(req: &HttpRequest) -> bool {
    req.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// The document of draft-inadarei-api-health-check-06; `details` only for signed-in users.
fn document(ctx: &Context, details: bool) -> HttpResponse {
    let snapshots = ctx.health.all();
    let root = root_status(&snapshots);
    let mut body = json!({ "status": root, "version": "1", "releaseId": env!("CARGO_PKG_VERSION"), "description": "Larder" });
    if details && let Some(body) = body.as_object_mut() {
        let mut checks = Map::new();
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.state != State::NotConfigured) {
            let slug = snapshot.service.slug();
            checks.insert(format!("{slug}:responseTime"), json!([check(snapshot)]));
            if let Some((in_use, size, waiting)) = snapshot.pool {
                let status = if waiting > 0 { "warn" } else { "pass" };
                let pool = json!({ "componentType": "component", "observedValue": in_use, "observedUnit": "connections", "status": status,
                                   "limit": size, "waiting": waiting });
                checks.insert(format!("{slug}:connections"), json!([pool]));
            }
        }
        body.insert("serviceId".into(), json!(ctx.health.instance()));
        body.insert("checks".into(), Value::Object(checks));
    }
    let mut response = if root == "fail" { HttpResponse::ServiceUnavailable() } else { HttpResponse::Ok() };
    let age = ctx.health.period().as_secs().max(1);
    response
        .insert_header((header::CACHE_CONTROL, format!("{}max-age={age}", if details { "private, " } else { "" })))
        .content_type("application/health+json")
        .body(body.to_string())
}

/// Larder works without Redis, Qdrant and LiteLLM, but not without Postgres and S3.
fn root_status(snapshots: &[Snapshot]) -> &'static str {
    let statuses = || snapshots.iter().filter(|snapshot| snapshot.state != State::NotConfigured).map(|one| (one.service, status(one)));
    if statuses().any(|(service, status)| service.is_hard() && status == "fail") {
        "fail"
    } else if statuses().any(|(_, status)| status != "pass") {
        "warn"
    } else {
        "pass"
    }
}

fn status(snapshot: &Snapshot) -> &'static str {
    match snapshot.state {
        State::Up | State::NotConfigured if !snapshot.unstable => "pass",
        State::Down | State::Stale => "fail",
        _ => "warn",
    }
}

fn check(snapshot: &Snapshot) -> Value {
    let time = |time: Option<DateTime<Utc>>| time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    let status = status(snapshot);
    let kind = if snapshot.service == Service::LiteLlm { "component" } else { "datastore" };
    let mut check = Map::new();
    check.insert("componentType".into(), json!(kind));
    check.insert("status".into(), json!(status));
    check.insert("time".into(), json!(time(snapshot.checked_at)));
    if let Some(latency) = snapshot.latency_ms {
        check.insert("observedValue".into(), json!(latency));
        check.insert("observedUnit".into(), json!("ms"));
    }
    if status != "pass" {
        let error = snapshot.problem.as_ref().or(snapshot.last_failure.as_ref().map(|(_, error)| error));
        let output = match snapshot.state {
            State::Unknown => Some("The service has not been checked yet."),
            State::Stale => Some("No recent check has finished."),
            _ => error.map(|error| error.why.as_str()),
        };
        check.insert("state".into(), json!(snapshot.state.slug()));
        check.insert("unstable".into(), json!(snapshot.unstable));
        check.insert("output".into(), json!(output));
        check.insert("faultClass".into(), json!(error.map(|error| error.class.slug())));
        check.insert("since".into(), json!(time(snapshot.since)));
        check.insert("consecutiveFailures".into(), json!(snapshot.failures));
        check.insert("affectedEndpoints".into(), json!(snapshot.service.affected_endpoints()));
    }
    Value::Object(check)
}
