//! Floor 3, JSON: what programs ask.

pub mod health;

use crate::console::routes;

routes! {
    "/livez" { GET Public health::livez; }
    "/readyz" { GET Public health::readyz; }
    "/health" { GET Public health::whole; }
    "/health/{service}" { GET Public health::service; }
}
