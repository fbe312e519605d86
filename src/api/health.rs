//! `/livez`, `/readyz`, `/health` as `application/health+json`, `/health/{service}`: all read memory only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::console::error::{self, not_found};
use crate::console::pages;
use crate::console::session::Visitor;
use crate::domain::Context;
use crate::domain::health::{Board, Service, Snapshot, State};

/// Whether this process wants traffic: the first migration check has ended and it is not draining.
#[derive(Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

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

/// One service, in the form that the applications behind Larder ask for.
pub async fn service(ctx: web::Data<Context>, name: web::Path<String>, req: HttpRequest) -> HttpResponse {
    let service = match name.as_str() {
        "postgres" => Service::Postgres,
        "redis" => Service::Redis,
        "s3" => Service::S3,
        "qdrant" => Service::Qdrant,
        "litellm" => Service::LiteLlm,
        _ => return not_found(req).await,
    };
    let snapshot = ctx.health.one(service);
    let body = if matches!(service, Service::Qdrant | Service::LiteLlm) {
        let configured = snapshot.state != State::NotConfigured;
        json!({ "healthy": snapshot.healthy, "latency_ms": snapshot.latency_ms, "connected": snapshot.healthy, "configured": configured })
    } else {
        json!({ "healthy": snapshot.healthy, "latency_ms": snapshot.latency_ms, "connected": snapshot.healthy, "pool_size": snapshot.pool_size })
    };
    let fine = snapshot.healthy || snapshot.state == State::NotConfigured;
    let mut answer = if fine { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(body)
}

/// The page for people, `application/health+json` for programs.
pub async fn whole(visitor: Visitor, ctx: web::Data<Context>, req: HttpRequest) -> error::Result<HttpResponse> {
    let mut answer = if wants_html(&req) { pages::health::show(visitor, ctx).await? } else { document(&ctx, visitor.is_signed_in()) };
    answer.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept, Cookie"));
    Ok(answer)
}

/// Whether whoever asks wants the page rather than JSON.
fn wants_html(req: &HttpRequest) -> bool {
    req.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// The whole, as draft-inadarei-api-health-check-06 writes it; `details` only for those who are signed in.
fn document(ctx: &Context, details: bool) -> HttpResponse {
    let snapshots = ctx.health.all();
    let root = root_status(&snapshots);
    let mut body = json!({ "status": root, "version": "1", "releaseId": env!("CARGO_PKG_VERSION"), "description": "Larder" });
    if details && let Some(body) = body.as_object_mut() {
        let checks: serde_json::Map<String, Value> = snapshots
            .iter()
            .filter(|snapshot| snapshot.state != State::NotConfigured)
            .map(|snapshot| (format!("{}:responseTime", snapshot.service.name().to_lowercase()), json!([check(snapshot)])))
            .collect();
        body.insert("checks".into(), Value::Object(checks));
    }
    let mut answer = if root == "fail" { HttpResponse::ServiceUnavailable() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::CACHE_CONTROL, format!("{}max-age={}", if details { "private, " } else { "" }, Board::PERIOD.as_secs())))
        .content_type("application/health+json")
        .body(body.to_string())
}

/// Without Redis, Qdrant or LiteLLM Larder still does its work; without Postgres or S3 it does not.
fn root_status(snapshots: &[Snapshot]) -> &'static str {
    let hard = |snapshot: &&Snapshot| matches!(snapshot.service, Service::Postgres | Service::S3);
    let broken = |snapshot: &Snapshot| !snapshot.healthy && snapshot.state != State::NotConfigured;
    if snapshots.iter().filter(hard).any(broken) {
        "fail"
    } else if snapshots.iter().any(broken) {
        "warn"
    } else {
        "pass"
    }
}

fn check(snapshot: &Snapshot) -> Value {
    let status = match (snapshot.healthy, snapshot.state) {
        (true, State::Up) => "pass",
        (true, _) | (false, State::Unstable) => "warn",
        (false, _) => "fail",
    };
    let kind = if matches!(snapshot.service, Service::LiteLlm) { "component" } else { "datastore" };
    let time = snapshot.checked_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    let mut check = json!({ "componentType": kind, "status": status, "time": time });
    if let Some(check) = check.as_object_mut() {
        if let Some(latency) = snapshot.latency_ms {
            check.insert("observedValue".into(), json!(latency));
            check.insert("observedUnit".into(), json!("ms"));
        }
        if status != "pass" {
            check.insert("output".into(), json!(snapshot.last_failure.as_ref().map(|(_, why)| why)));
            check.insert("since".into(), json!(snapshot.since.map(|since| since.to_rfc3339_opts(SecondsFormat::Secs, true))));
        }
    }
    check
}
