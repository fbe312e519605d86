//! What this process counts of the requests it answers, for `/metrics`.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

/// Seconds: from a page out of memory to an upload of an hour.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0, 3600.0];

#[derive(Clone)]
pub struct Meter {
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    registry: Registry,
}

/// A request that is being answered.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meter {
    /// An error only where two figures have one name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(Opts::new("larder_http_requests_total", "Requests answered"), &["method", "route", "status"])?;
        let durations = HistogramVec::new(
            HistogramOpts::new("larder_http_request_duration_seconds", "From the head of a request to the head of its answer")
                .buckets(BUCKETS.to_vec()),
            &["method", "route"],
        )?;
        let in_flight = IntGauge::new("larder_http_requests_in_flight", "Requests being answered")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { requests, durations, in_flight, registry })
    }

    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// `route` is the template that matched, never the path: an address is nobody's to make a series of.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        // Methods that no route has may be of any name.
        let method = if matches!(method, "GET" | "HEAD" | "POST") { method } else { "other" };
        self.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.durations.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
}
