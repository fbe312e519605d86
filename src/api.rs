//! Layer 3, for programs: health and metrics.

pub mod health;
pub mod metrics;

use crate::console::routes;

routes! {
    "/livez" { GET Public health::livez; }
    "/readyz" { GET Public health::readyz; }
    "/metrics" { GET Public metrics::show; }
    "/health/{service}" { GET Public health::service; }
}
