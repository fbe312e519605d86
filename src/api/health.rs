//! `/livez`, `/readyz`, `/health/{service}`: all read only memory.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::console::http::error::not_found;
use crate::domain::Context;
use crate::domain::health::{Service, Snapshot, State};
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
        let pool_size = pool.map_or(0, |usage| usage.limit);
        json!({ "healthy": healthy, "latency_ms": latency_ms, "connected": healthy, "pool_size": pool_size })
    };
    let is_ok = healthy || state == State::NotConfigured;
    let mut response = if is_ok { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(body)
}
