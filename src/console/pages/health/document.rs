//! `/health` as `application/health+json`, for programs.

use actix_web::HttpResponse;
use actix_web::http::header;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::domain::Context;
use crate::domain::health::{Service, Snapshot, State};

/// The document of draft-inadarei-api-health-check-06; `details` only for signed-in users.
pub(super) fn document(ctx: &Context, details: bool) -> HttpResponse {
    let snapshots = ctx.health.all();
    let root = root_status(&snapshots);
    let mut body = json!({ "status": root, "version": "1", "releaseId": env!("CARGO_PKG_VERSION"), "description": "Larder" });
    if details && let Some(body) = body.as_object_mut() {
        let mut checks = Map::new();
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.state != State::NotConfigured) {
            let slug = snapshot.service.slug();
            checks.insert(format!("{slug}:responseTime"), json!([check(snapshot)]));
            if let Some(usage) = snapshot.pool {
                let status = if usage.waiting > 0 { "warn" } else { "pass" };
                let pool = json!({ "componentType": "component", "observedValue": usage.in_use, "observedUnit": "connections", "status": status,
                                   "limit": usage.limit, "waiting": usage.waiting });
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
