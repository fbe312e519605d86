//! `/buckets/{bucket}/uploads/resumable` and `/buckets/{bucket}/uploads/{id}/…`: the API for resumable uploads in parts,
//! with JSON responses. The page `/uploads/new` uses it.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::console::http::error::{self, Error, Result};
use crate::console::http::multipart::drain_payload;
use crate::console::http::query::{Bucket, Form, Query};
use crate::console::http::request;
use crate::console::http::session::Editor;
use crate::console::view::upload_row;
use crate::domain::uploads::resume::{self, Resumable, ResumeRequest};
use crate::domain::uploads::{self, Receiver};
use crate::domain::{self, Context};

#[derive(Deserialize)]
pub struct CreateForm {
    name: String,
    #[serde(default)]
    prefix: String,
    #[serde(default, rename = "type")]
    media: Option<String>,
    length: u64,
    fingerprint: String,
    #[serde(default)]
    overwrite: Option<String>,
    /// `1`: abort an unfinished upload of another file to the same key.
    #[serde(default)]
    restart: Option<String>,
}

#[derive(Deserialize)]
pub struct CompleteForm {
    #[serde(default)]
    overwrite: Option<String>,
    /// Hexadecimal digest of the whole file.
    #[serde(default)]
    sha256: Option<String>,
}

#[derive(Deserialize)]
struct Number {
    number: i32,
}

/// The upload id in the path. An invalid id is a 404.
pub struct Id(Uuid);

impl FromRequest for Id {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = req.match_info().get("id").and_then(|id| id.parse().ok());
        ready(id.map(Self).ok_or_else(|| Error::NotFound("You have no unfinished upload with this ID.".to_owned())))
    }
}

/// A part, with its body unread.
pub struct Incoming {
    query: Query,
    digest: Result<Option<Vec<u8>>>,
    body: web::Payload,
}

impl FromRequest for Incoming {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = web::Payload::from_request(req, payload).into_inner();
        let query = Query::from_request(req, &mut Payload::None).into_inner();
        ready(query.and_then(|query| {
            let body = body.map_err(|_| Error::BadRequest("The body of this request is invalid.".to_owned()))?;
            Ok(Self { query, digest: content_digest(req.headers()), body })
        }))
    }
}

fn is_one(flag: Option<&str>) -> bool {
    flag == Some("1")
}

pub async fn create(editor: Editor, ctx: web::Data<Context>, bucket: Bucket, form: Form<CreateForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let receiver = Receiver::open(&ctx, &editor.actor, bucket.0, &form.prefix, is_one(form.overwrite.as_deref())).await?;
    let wanted = ResumeRequest {
        name: &form.name,
        content_type: form.media.as_deref(),
        length: form.length,
        fingerprint: &form.fingerprint,
        restart: is_one(form.restart.as_deref()),
    };
    match resume::open(&receiver, &wanted).await {
        Ok(upload) => Ok(HttpResponse::Ok().json(progress(&upload))),
        // Tells the client that it may start over, which helps with no other error.
        Err(domain::Error::Refused { field: "restart", why }) => {
            let changed = Map::from_iter([("changed".to_owned(), json!(true))]);
            Ok(error::problem(&Error::Unprocessable(why), &request::current_id(), changed))
        }
        Err(error) => Err(error.into()),
    }
}

pub async fn show(editor: Editor, ctx: web::Data<Context>, target: (Bucket, Id)) -> Result<HttpResponse> {
    let (bucket, Id(id)) = (target.0.0, target.1);
    Ok(HttpResponse::Ok().json(progress(&resume::state(&ctx, &editor.actor, bucket.as_str(), id).await?)))
}

/// The body is the part. `Content-Digest: sha-256=:…:` (RFC 9530) is verified if present.
pub async fn receive(editor: Editor, ctx: web::Data<Context>, target: (Bucket, Id), incoming: Incoming) -> Result<HttpResponse> {
    let (bucket, Id(id)) = (target.0.0, target.1);
    let Incoming { query, digest, mut body } = incoming;
    let started = async {
        let Number { number } = query.read()?;
        Ok::<_, Error>((resume::start_part(&ctx, &editor.actor, bucket.as_str(), id, number).await?, digest?))
    };
    let (mut part, digest) = match started.await {
        Ok(started) => started,
        Err(error) => {
            drain_payload(&mut body).await;
            return Err(error);
        }
    };
    while let Some(chunk) = uploads::or_release(body.next(), || part.release_unused()).await {
        let chunk = chunk.map_err(|_| Error::BadRequest("The part was incomplete. Send it again.".to_owned()))?;
        if let Err(error) = part.write(chunk).await {
            drain_payload(&mut body).await;
            return Err(error.into());
        }
    }
    let stored = part.finish(digest).await?;
    Ok(HttpResponse::Ok().json(json!({ "number": stored.number, "size": stored.size, "sha256": stored.sha256_hex() })))
}

pub async fn complete(editor: Editor, ctx: web::Data<Context>, target: (Bucket, Id), form: Form<CompleteForm>) -> Result<HttpResponse> {
    let (bucket, Id(id)) = (target.0.0, target.1);
    let form = form.read().await?;
    let digest = form.sha256.as_deref().map(unhex).transpose()?;
    let overwrite = form.overwrite.as_deref().map(|flag| is_one(Some(flag)));
    let file = resume::complete(&ctx, &editor.actor, bucket.as_str(), id, overwrite, digest).await?;
    let mut stored = upload_row::json(&file, None);
    // Repeated requests return the same result, even if the object was replaced or deleted since.
    stored["status"] = json!("stored");
    Ok(HttpResponse::Ok().json(json!({ "batch": file.batch_id, "files": [stored] })))
}

pub async fn delete(editor: Editor, ctx: web::Data<Context>, target: (Bucket, Id)) -> Result<HttpResponse> {
    let (bucket, Id(id)) = (target.0.0, target.1);
    resume::abort(&ctx, &editor.actor, bucket.as_str(), id).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn progress(upload: &Resumable) -> Value {
    let parts = upload.parts.iter().map(|part| json!({ "number": part.number, "size": part.size, "sha256": part.sha256_hex() }));
    json!({
        "id": upload.file.id,
        "key": upload.file.key,
        "state": upload.file.state.as_str(),
        "error": upload.file.error,
        "length": upload.length,
        "part_size": upload.part_size,
        "parts": parts.collect::<Vec<_>>(),
        "kept_until": upload.kept_until,
    })
}

fn content_digest(headers: &HeaderMap) -> Result<Option<Vec<u8>>> {
    let Some(header) = headers.get("content-digest") else { return Ok(None) };
    let unreadable = || Error::BadRequest("The header Content-Digest is invalid: the format is sha-256=:base64:.".to_owned());
    let named = header.to_str().map_err(|_| unreadable())?.split(',').find_map(|one| one.trim().strip_prefix("sha-256="));
    let encoded = named.and_then(|value| value.strip_prefix(':')?.strip_suffix(':')).ok_or_else(unreadable)?;
    STANDARD.decode(encoded).ok().filter(|digest| digest.len() == 32).map(Some).ok_or_else(unreadable)
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let unreadable = || Error::BadRequest("A SHA-256 must have 64 hexadecimal digits.".to_owned());
    if text.len() != 64 || !text.is_ascii() {
        return Err(unreadable());
    }
    (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| unreadable())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn read(value: &'static str) -> Result<Option<Vec<u8>>> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("content-digest"), HeaderValue::from_static(value));
        content_digest(&headers)
    }

    #[test]
    fn a_content_digest_follows_rfc_9530() {
        assert_eq!(read("sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:").unwrap(), Some(vec![0; 32]));
        assert_eq!(read("md5=:AA==:, sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:").unwrap(), Some(vec![0; 32]));
        for bad in ["sha-256=AAAA", "sha-256=:AAAA:", "md5=:AA==:", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(content_digest(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn the_digest_of_the_file_is_hexadecimal() {
        assert_eq!(unhex(&"0f".repeat(32)).unwrap(), vec![15; 32]);
        for bad in ["", "0f", &"0g".repeat(32), &"é".repeat(32)] {
            assert!(unhex(bad).is_err(), "{bad}");
        }
    }
}
