//! `/metrics`: Prometheus text format, for clients with the token. Without a configured token, only for loopback
//! clients, and not if the public URL is on another host.

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, FORWARDED, HOST, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::constant_time;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::config::{Config, local_host};
use crate::console::http::error::{self, Error};
use crate::domain::health::State;
use crate::domain::transfer_counters::UploadOutcome;
use crate::domain::{Context, redis_metrics};
use crate::meter::Meter;

pub async fn show(ctx: web::Data<Context>, meter: web::Data<Meter>, req: HttpRequest) -> HttpResponse {
    if !may_read(&ctx.config, &req) {
        let mut response =
            error::problem(&Error::SignIn { next: String::new() }, &crate::console::http::request::current_id(), serde_json::Map::new());
        response.headers_mut().insert(WWW_AUTHENTICATE, actix_web::http::header::HeaderValue::from_static("Bearer"));
        return response;
    }
    let mut text = Vec::new();
    let written = state(&ctx).await.and_then(|registry| {
        let encoder = TextEncoder::new();
        encoder.encode(&meter.gather(), &mut text)?;
        encoder.encode(&registry.gather(), &mut text)
    });
    match written {
        Ok(()) => HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type(prometheus::TEXT_FORMAT).body(text),
        Err(error_value) => error::answer(&Error::Internal(error_value.to_string()), &req),
    }
}

/// Behind a local proxy, every request comes from this machine, so forwarded requests need a token.
fn may_read(config: &Config, req: &HttpRequest) -> bool {
    match &config.metrics_token {
        Some(token) => {
            let given = req.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
            given.is_some_and(|given| constant_time::verify_slices_are_equal(given, token.reveal().as_bytes()).is_ok())
        }
        None => {
            let is_forwarded =
                [FORWARDED.as_str(), "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| req.headers().contains_key(*name));
            !is_forwarded
                && !is_public(config)
                && is_local_host(req)
                && req.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        }
    }
}

/// Whether the request was made for this machine by name. A page elsewhere whose host name resolves to a loopback address
/// sends its own name.
fn is_local_host(req: &HttpRequest) -> bool {
    let Some(host) = req.headers().get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether browsers reach Larder from other hosts: then there is a proxy, which may not add forwarding headers.
fn is_public(config: &Config) -> bool {
    config.public_url.as_deref().is_some_and(|url| local_host(url).is_none())
}

/// The current state, in a separate registry.
async fn state(ctx: &Context) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    build(&registry)?;
    pools(ctx, &registry)?;
    probes(ctx, &registry)?;
    cache(ctx, &registry)?;
    transfers(ctx, &registry)?;
    redis(ctx, &registry).await?;
    gauge(&registry, "larder_uploads_in_flight", "Uploads in progress", ctx.upload_memory.in_progress() as u64)?;
    gauge(&registry, "larder_upload_memory_bytes", "Memory used by uploads", ctx.upload_memory.in_use() as u64)?;
    Ok(registry)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn gauge(registry: &Registry, name: &str, help: &str, value: u64) -> prometheus::Result<()> {
    let gauge = IntGauge::new(name, help)?;
    gauge.set(signed(value));
    registry.register(Box::new(gauge))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn counter(registry: &Registry, name: &str, help: &str, value: u64) -> prometheus::Result<()> {
    let counter = IntCounter::new(name, help)?;
    counter.inc_by(value);
    registry.register(Box::new(counter))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn build(registry: &Registry) -> prometheus::Result<()> {
    let info = gauges(registry, "larder_build_info", "Always 1; the version is a label", &["version"])?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(())
}

fn pools(ctx: &Context, registry: &Registry) -> prometheus::Result<()> {
    let connections = gauges(registry, "larder_pool_connections", "Connections of this process", &["pool", "state"])?;
    let limits = gauges(registry, "larder_pool_limit", "Connection limit", &["pool"])?;
    let waiting = gauges(registry, "larder_pool_waiting", "Callers waiting for a connection", &["pool"])?;
    for (pool, usage) in [("postgres", ctx.db.usage()), ("redis", ctx.redis.usage()), ("redis_browse", ctx.redis.browse_usage())] {
        connections.with_label_values(&[pool, "in_use"]).set(signed(usage.in_use as u64));
        connections.with_label_values(&[pool, "idle"]).set(signed(usage.idle as u64));
        limits.with_label_values(&[pool]).set(signed(usage.limit as u64));
        waiting.with_label_values(&[pool]).set(signed(usage.waiting as u64));
    }
    Ok(())
}

fn probes(ctx: &Context, registry: &Registry) -> prometheus::Result<()> {
    let up = gauges(registry, "larder_probe_success", "Whether a service is healthy, according to its last checks", &["service"])?;
    let duration =
        prometheus::GaugeVec::new(Opts::new("larder_probe_duration_seconds", "Duration of the last successful check"), &["service"])?;
    registry.register(Box::new(duration.clone()))?;
    let states = gauges(registry, "larder_service_state", "1 for the current state of a service", &["service", "state"])?;
    let checks = counters(registry, "larder_probe_checks_total", "Checks by result", &["service", "result"])?;
    for snapshot in ctx.health.all() {
        if snapshot.state == State::NotConfigured {
            continue;
        }
        let name = snapshot.service.slug();
        states.with_label_values(&[name, snapshot.state.slug()]).set(1);
        for (result, count) in ctx.health.counts(snapshot.service) {
            checks.with_label_values(&[name, result]).inc_by(count);
        }
        if snapshot.state == State::Unknown {
            continue;
        }
        up.with_label_values(&[name]).set(i64::from(snapshot.healthy));
        if let Some(latency) = snapshot.latency_ms {
            duration.with_label_values(&[name]).set(latency / 1000.0);
        }
    }
    Ok(())
}

fn cache(ctx: &Context, registry: &Registry) -> prometheus::Result<()> {
    let lookups = counters(registry, "larder_cache_lookups_total", "Cache lookups by this process", &["namespace", "result"])?;
    let computed = counters(registry, "larder_cache_computations_total", "Computed cache values", &["namespace", "outcome"])?;
    let seconds = prometheus::CounterVec::new(
        Opts::new("larder_cache_lookup_seconds_total", "Duration of cache lookups, including computations"),
        &["namespace"],
    )?;
    registry.register(Box::new(seconds.clone()))?;
    for (namespace, stats) in ctx.cache.stats() {
        for (result, count) in
            [("hit", stats.hits() - stats.stale()), ("stale", stats.stale()), ("miss", stats.misses()), ("error", stats.errors())]
        {
            lookups.with_label_values(&[namespace, result]).inc_by(count);
        }
        computed.with_label_values(&[namespace, "ok"]).inc_by(stats.computations() - stats.failures());
        computed.with_label_values(&[namespace, "error"]).inc_by(stats.failures());
        seconds.with_label_values(&[namespace]).inc_by(stats.lookups().sum.as_secs_f64());
    }
    Ok(())
}

fn transfers(ctx: &Context, registry: &Registry) -> prometheus::Result<()> {
    let uploads = counters(registry, "larder_uploads_total", "Uploaded files by outcome", &["outcome"])?;
    for outcome in UploadOutcome::ALL {
        uploads.with_label_values(&[outcome.slug()]).inc_by(ctx.transfer_counters.count(outcome));
    }
    counter(registry, "larder_upload_bytes_total", "Bytes of stored files", ctx.transfer_counters.uploaded())?;
    counter(registry, "larder_download_bytes_total", "Bytes of downloaded objects", ctx.transfer_counters.downloaded())
}

/// Redis metrics, if the server responds within 250 ms; they are omitted otherwise.
async fn redis(ctx: &Context, registry: &Registry) -> prometheus::Result<()> {
    let Some(export) = redis_metrics::export(ctx).await else { return Ok(()) };
    for (name, help, value) in export.gauges() {
        gauge(registry, name, help, value)?;
    }
    for (name, help, value) in export.counters() {
        counter(registry, name, help, value)?;
    }
    Ok(())
}
