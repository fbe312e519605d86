//! `GET|HEAD /buckets/{bucket}/download` and `GET /buckets/{bucket}/preview`: untrusted content, which must never
//! execute on Larder's origin.

use actix_web::body::SizedStream;
use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::console::http::error::Result;
use crate::console::http::query::{self, Bucket, Query};
use crate::console::http::session::Viewer;
use crate::domain::Context;
use crate::domain::objects::{self, Conditions, Download, DownloadBody, DownloadRequest, Purpose};
use crate::domain::preview::{self, Media, MediaKind};

#[derive(Deserialize)]
struct Named {
    key: String,
    #[serde(default)]
    version: Option<String>,
}

/// A previewed document has no scripts, no forms and an opaque origin.
const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; frame-ancestors 'self'";
/// Browsers do not display PDFs in a sandbox; the PDF viewer is isolated from our origin.
const PDF: &str = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; plugin-types application/pdf; frame-ancestors 'self'";

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, target: (Bucket, Query), req: HttpRequest) -> Result<HttpResponse> {
    let (bucket, Named { key, version }) = (target.0.0, target.1.read()?);
    let key = query::key(key)?;
    let purpose = if req.method() == Method::HEAD { Purpose::Head } else { Purpose::Download };
    let conditions = conditions(&req);
    let request = DownloadRequest { bucket: &bucket, key: &key, version: version.as_deref(), conditions: &conditions, etag: None, purpose };
    let found = objects::download(&ctx, &viewer.actor, viewer.session.id, &request).await?;
    Ok(match found {
        Download::Body(body) => {
            let mut answer = start_response(&body);
            answer
                .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
                .insert_header((header::CONTENT_DISPOSITION, objects::disposition(key.name())))
                .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"));
            answer.body(SizedStream::new(body.length, body.stream))
        }
        other => without_body(other),
    })
}

/// The media type is decided by the first bytes, not by the object's Content-Type. An object that is replaced after its
/// first bytes were checked is not sent.
pub async fn preview(viewer: Viewer, ctx: web::Data<Context>, target: (Bucket, Query), req: HttpRequest) -> Result<HttpResponse> {
    let (bucket, Named { key, .. }) = (target.0.0, target.1.read()?);
    let key = query::key(key)?;
    let slot = ctx.previews.take_for(&viewer.actor, preview::MAX_PER_PERSON)?;
    let Media { kind, media, etag } = preview::media_of(&ctx, &bucket, &key).await?;
    drop(slot);
    let purpose = if req.method() == Method::HEAD { Purpose::Head } else { Purpose::Preview };
    let conditions = conditions(&req);
    let request = DownloadRequest { bucket: &bucket, key: &key, version: None, conditions: &conditions, etag: Some(&etag), purpose };
    let found = objects::download(&ctx, &viewer.actor, viewer.session.id, &request).await?;
    Ok(match found {
        Download::Body(body) => {
            let mut answer = start_response(&body);
            answer
                .insert_header((header::CONTENT_TYPE, media))
                .insert_header((header::CONTENT_DISPOSITION, "inline"))
                .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
                .insert_header((header::CONTENT_SECURITY_POLICY, if kind == MediaKind::Pdf { PDF } else { SANDBOX }));
            answer.body(SizedStream::new(body.length, body.stream))
        }
        other => without_body(other),
    })
}

/// `Range` is defined for GET only (RFC 9110, section 14.2).
fn conditions(req: &HttpRequest) -> Conditions {
    let headers = req.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Conditions {
        range: text(header::RANGE).filter(|_| req.method() == Method::GET),
        if_range: text(header::IF_RANGE),
        if_match: text(header::IF_MATCH),
        if_none_match: text(header::IF_NONE_MATCH),
        if_modified_since: text(header::IF_MODIFIED_SINCE),
        if_unmodified_since: text(header::IF_UNMODIFIED_SINCE),
    }
}

fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The status and the headers that a download and a preview share.
fn start_response(body: &DownloadBody) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(if body.content_range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    answer.insert_header((header::ACCEPT_RANGES, "bytes"));
    // Browsers may cache the object but must revalidate it, which also checks the permission.
    answer.insert_header((header::CACHE_CONTROL, "private, no-cache"));
    if let Some(encoding) = &body.content_encoding {
        answer.insert_header((header::CONTENT_ENCODING, encoding.as_str()));
    }
    if let Some(range) = &body.content_range {
        answer.insert_header((header::CONTENT_RANGE, range.as_str()));
    }
    if let Some(etag) = &body.etag {
        answer.insert_header((header::ETAG, format!("\"{etag}\"")));
    }
    if let Some(modified) = body.last_modified {
        answer.insert_header((header::LAST_MODIFIED, http_date(modified)));
    }
    answer
}

fn without_body(found: Download) -> HttpResponse {
    match found {
        Download::NotModified { etag } => {
            let mut answer = HttpResponse::NotModified();
            answer.insert_header((header::CACHE_CONTROL, "private, no-cache"));
            if let Some(etag) = etag {
                answer.insert_header((header::ETAG, format!("\"{etag}\"")));
            }
            answer.finish()
        }
        Download::RangeNotSatisfiable { size } => {
            let mut answer = HttpResponse::RangeNotSatisfiable();
            let size = size.map_or_else(|| "*".to_owned(), |size| size.to_string());
            answer.insert_header((header::CONTENT_RANGE, format!("bytes */{size}"))).finish()
        }
        Download::PreconditionFailed | Download::Body(_) => HttpResponse::PreconditionFailed().finish(),
    }
}
