//! Placeholder until the transfer routes arrive.

use actix_web::HttpResponse;

pub async fn show() -> HttpResponse {
    HttpResponse::NotImplemented().finish()
}

pub async fn preview() -> HttpResponse {
    HttpResponse::NotImplemented().finish()
}
