//! Floor 3, JSON: what programs ask.

pub mod health;

use actix_web::web;

/// The table of URLs. `/health` itself is dispatched by what the asker accepts.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/livez", web::get().to(health::livez))
        .route("/readyz", web::get().to(health::readyz))
        .route("/health/{service}", web::get().to(health::service));
}
