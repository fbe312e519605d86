//! Request metrics of this process, for `/metrics`.

mod recent;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use recent::Recent;
pub use recent::{Bound, Load};

/// In seconds: from a page served from memory to an upload of an hour.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0, 3600.0];

#[derive(Clone)]
pub struct Meter {
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    connections: IntGauge,
    registry: Registry,
    recent: Arc<Mutex<Recent>>,
}

/// Counts a request in progress or an open connection until it is dropped.
pub struct Counted(IntGauge);

impl Counted {
    fn one(of: &IntGauge) -> Self {
        of.inc();
        Self(of.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meter {
    /// Fails only if two metrics have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(Opts::new("larder_http_requests_total", "Answered requests"), &["method", "route", "status"])?;
        let durations = HistogramVec::new(
            HistogramOpts::new("larder_http_request_duration_seconds", "Time from the request head to the response head")
                .buckets(BUCKETS.to_vec()),
            &["method", "route"],
        )?;
        let in_flight = IntGauge::new("larder_http_requests_in_flight", "Requests in progress")?;
        let connections = IntGauge::new("larder_http_connections", "Open connections")?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { requests, durations, in_flight, connections, registry, recent: Arc::new(Mutex::new(Recent::new())) })
    }

    pub fn begin(&self) -> Counted {
        Counted::one(&self.in_flight)
    }

    pub fn connected(&self) -> Counted {
        Counted::one(&self.connections)
    }

    pub fn connections(&self) -> u64 {
        u64::try_from(self.connections.get()).unwrap_or(0)
    }

    pub fn load(&self) -> Load {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).load(Instant::now())
    }

    /// `route` is the matched template, not the path, which would allow clients to create any number of series.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration, is_page: bool) {
        // Clients may send any method name.
        let method = if matches!(method, "GET" | "HEAD" | "POST") { method } else { "other" };
        self.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.durations.with_label_values(&[method, route]).observe(took.as_secs_f64());
        // Health endpoints that report an outage are not errors of Larder.
        let failed = status >= 500 && !route.starts_with("/health") && route != "/readyz";
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).answered(Instant::now(), failed, is_page.then_some(took));
    }

    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
}

/// Resident memory of this process in bytes; `None` if the system does not report it.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
