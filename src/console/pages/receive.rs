//! Placeholder until the transfer routes arrive.

use actix_web::HttpResponse;

pub async fn create() -> HttpResponse {
    HttpResponse::NotImplemented().finish()
}
