//! `POST /buckets/{bucket}/uploads`: any number of files in one form, streamed to the store as they come.

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use futures_util::{TryStream, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::{Ready, ready};
use std::time::Duration;

use crate::console::error::{self, Error, Result};
use crate::console::query::{Bucket, Query};
use crate::console::session::{Editor, see_other};
use crate::console::{paths, request};
use crate::domain::uploads::{File, FileState, Receiver};
use crate::domain::{self, Context};

/// Files of one form.
const MAX_FILES: usize = 10_000;
/// Parts of one form that are not files; our own forms have none.
const MAX_FIELDS: usize = 50;
/// How much of a refused body is still read, so that the sender hears the answer instead of a reset.
const DRAIN: usize = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    overwrite: Option<String>,
}

/// The request, of whose body nothing has been read yet.
pub struct Incoming {
    bucket: Result<Bucket>,
    query: Query,
    form: Form,
    length: Option<u64>,
    wants_json: bool,
}

impl FromRequest for Incoming {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bucket = Bucket::from_request(req, &mut Payload::None).into_inner();
        let length = req.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let incoming = Query::from_request(req, &mut Payload::None).into_inner().map(|query| Self {
            bucket,
            query,
            form: Once::new(Multipart::new(req.headers(), payload.take())),
            length,
            wants_json: error::prefers_json(req.headers()),
        });
        ready(incoming)
    }
}

/// A stream that may be asked again after its end or its failure, which actix-multipart answers with a panic.
struct Once<S> {
    stream: S,
    over: bool,
}

impl<S: TryStream<Error = MultipartError> + Unpin> Once<S> {
    fn new(stream: S) -> Self {
        Self { stream, over: false }
    }

    async fn next(&mut self) -> std::result::Result<Option<S::Ok>, MultipartError> {
        if self.over {
            return Ok(None);
        }
        let next = self.stream.try_next().await;
        self.over = !matches!(next, Ok(Some(_)));
        next
    }
}

type Form = Once<Multipart>;
type Part = Once<Field>;

pub async fn create(editor: Editor, ctx: web::Data<Context>, incoming: Incoming) -> Result<HttpResponse> {
    let Incoming { bucket, query, mut form, length, wants_json } = incoming;
    let opened = async {
        let Target { prefix, overwrite } = query.read()?;
        let overwrite = overwrite.as_deref() == Some("1");
        Ok::<_, Error>(Receiver::open(&ctx, &editor.actor, bucket?.0, &prefix, overwrite).await?)
    };
    let receiver = match opened.await {
        Ok(receiver) => receiver,
        Err(error) => {
            drain(&mut form).await;
            return Err(error);
        }
    };
    let mut arrived = Arrived { receiver, length, stops_early: wants_json, files: Vec::new(), fields: 0, first_error: None };
    if let Err(error) = arrived.receive(&mut form).await {
        drain(&mut form).await;
        return Err(error);
    }
    if arrived.files.is_empty() {
        return Err(Error::Unprocessable("No file was chosen. Choose at least one and send the form again.".into()));
    }
    if wants_json {
        return Ok(arrived.as_json());
    }
    Ok(see_other(&paths::batch(arrived.receiver.batch)))
}

/// What has come of the form so far.
struct Arrived {
    receiver: Receiver,
    length: Option<u64>,
    /// A program that sends one file a request need not send the rest of one that failed.
    stops_early: bool,
    files: Vec<File>,
    fields: usize,
    first_error: Option<Error>,
}

impl Arrived {
    /// Reads the form to its end. An error means that its end was not reached.
    async fn receive(&mut self, form: &mut Form) -> Result<()> {
        while let Some(field) = form.next().await.map_err(broken)? {
            let name = file_name(&field);
            let media = field.content_type().map(|media| media.essence_str().to_owned());
            let mut field = Once::new(field);
            let Some(name) = name else {
                self.fields += 1;
                if self.fields > MAX_FIELDS {
                    return Err(Error::TooLarge(format!("A form may have {MAX_FIELDS} fields beside its files, and this has more.")));
                }
                while field.next().await.map_err(broken)?.is_some() {}
                continue;
            };
            let first = field.next().await.map_err(broken)?;
            // What browsers send for a file input that was left empty.
            if name.is_empty() && first.as_ref().is_none_or(web::Bytes::is_empty) {
                continue;
            }
            if self.files.len() == MAX_FILES {
                return Err(Error::TooLarge(format!("A form may have {MAX_FILES} files. The first {MAX_FILES} were stored.")));
            }
            self.receive_file(&mut field, &name, media.as_deref(), first).await?;
            if self.stops_early && self.first_error.is_some() {
                drain_field(&mut field).await;
                return Ok(());
            }
        }
        Ok(())
    }

    async fn receive_file(&mut self, field: &mut Part, name: &str, media: Option<&str>, first: Option<web::Bytes>) -> Result<()> {
        let mut upload = match self.receiver.begin(name, media, self.length).await {
            Ok(upload) => upload,
            Err(refused) => {
                self.files.push(*refused.file);
                return self.skip(field, refused.error).await;
            }
        };
        let Some(described) = upload.describe() else { return Ok(()) };
        let mut next = first;
        while let Some(chunk) = next {
            if let Err(error) = upload.write(chunk).await {
                self.files.push(upload.abandon(&error).await.unwrap_or(described));
                return self.skip(field, error).await;
            }
            next = match field.next().await {
                Ok(next) => next,
                Err(fault) => {
                    let cut = domain::Error::Conflict("The connection broke before the whole file had arrived.".into());
                    upload.abandon(&cut).await;
                    return Err(broken(fault));
                }
            };
        }
        match upload.finish().await {
            Ok(file) => self.files.push(file),
            Err(error) => {
                self.files.push(described.failed(&error));
                self.first_error.get_or_insert(error.into());
            }
        }
        Ok(())
    }

    /// The other files of the form are unharmed: what is left of this one is read and dropped.
    async fn skip(&mut self, field: &mut Part, error: domain::Error) -> Result<()> {
        self.first_error.get_or_insert(error.into());
        if !self.stops_early {
            while field.next().await.map_err(broken)?.is_some() {}
        }
        Ok(())
    }

    /// 201 where anything was stored; else the status of the first failure, as a problem document.
    fn as_json(&self) -> HttpResponse {
        let files: Vec<Value> = self.files.iter().map(row).collect();
        let stored = self.files.iter().any(|file| file.state == FileState::Ready);
        let mut body = json!({ "batch": self.receiver.batch, "files": files });
        let status = match &self.first_error {
            Some(error) if !stored => {
                if let Some(body) = body.as_object_mut() {
                    body.insert("type".into(), json!("about:blank"));
                    body.insert("title".into(), json!(error.status_code().canonical_reason()));
                    body.insert("status".into(), json!(error.status_code().as_u16()));
                    body.insert("detail".into(), json!(self.files.first().and_then(|file| file.error.as_deref())));
                    body.insert("request_id".into(), json!(request::current_id()));
                }
                error.log(&request::current_id());
                error.status_code()
            }
            _ => StatusCode::CREATED,
        };
        let media = if status == StatusCode::CREATED { "application/json" } else { "application/problem+json" };
        let mut answer = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header(("retry-after", "5"));
        }
        answer.insert_header((CONTENT_TYPE, media)).body(body.to_string())
    }
}

fn row(file: &File) -> Value {
    let status = if file.state == FileState::Ready { "stored" } else { "failed" };
    json!({ "key": file.key, "size": file.size, "sha256": file.sha256, "etag": file.etag, "status": status, "error": file.error })
}

/// The name of a file part; `None` for any other part. Read from the header itself: HTML escapes a quote and line
/// ends in it and leaves a backslash alone, which the rules of HTTP would drop.
fn file_name(field: &Field) -> Option<String> {
    let disposition = field.content_disposition()?;
    let raw = std::str::from_utf8(field.headers().get(CONTENT_DISPOSITION)?.as_bytes()).ok()?;
    if let Some(name) = quoted_file_name(raw) {
        return Some(name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"));
    }
    match disposition.get_filename() {
        Some(name) => Some(name.to_owned()),
        None => String::from_utf8(disposition.get_filename_ext()?.value.clone()).ok(),
    }
}

/// What stands in `filename="…"`: up to a quote that ends the parameter. Some programs escape a quote as `\"`.
fn quoted_file_name(header: &str) -> Option<String> {
    let begins = header.to_ascii_lowercase().find("filename=\"")? + "filename=\"".len();
    let rest = &header[begins..];
    let ends_parameter = |at: usize| rest[at + 1..].trim_start().is_empty() || rest[at + 1..].trim_start().starts_with(';');
    let end = rest.match_indices('"').map(|(at, _)| at).find(|at| ends_parameter(*at))?;
    Some(rest[..end].replace("\\\"", "\""))
}

fn broken(fault: MultipartError) -> Error {
    match fault {
        MultipartError::Payload(PayloadError::Io(why)) if why.kind() == std::io::ErrorKind::TimedOut => {
            Error::BadRequest(format!("The upload was cut off: it sent {why}. What had arrived whole is stored, the rest is not."))
        }
        MultipartError::ContentTypeMissing
        | MultipartError::ContentTypeParse
        | MultipartError::BoundaryMissing
        | MultipartError::ContentTypeIncompatible => {
            Error::BadRequest("This is not a form with files (multipart/form-data). Nothing was stored.".into())
        }
        _ => Error::BadRequest("The form did not arrive whole. What had arrived whole is stored, the rest is not.".into()),
    }
}

/// Reads a little more, so that the sender hears the answer.
async fn drain(form: &mut Form) {
    let reading = async {
        let mut left = DRAIN;
        while let Ok(Some(field)) = form.next().await {
            left = drain_some(&mut Once::new(field), left).await;
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

async fn drain_field(field: &mut Part) {
    let _ = tokio::time::timeout(DRAIN_TIME, drain_some(field, DRAIN)).await;
}

/// Reads and drops at most `left` bytes; what is left of them.
async fn drain_some(field: &mut Part, mut left: usize) -> usize {
    while left > 0 {
        match field.next().await {
            Ok(Some(chunk)) => left = left.saturating_sub(chunk.len()),
            Ok(None) | Err(_) => break,
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::quoted_file_name;

    #[test]
    fn a_file_name_is_read_as_browsers_write_it() {
        let header = |name: &str| format!("form-data; name=\"file\"; filename=\"{name}\"");
        assert_eq!(quoted_file_name(&header("a\\b.txt")).as_deref(), Some("a\\b.txt"));
        assert_eq!(quoted_file_name(&header("a; b=c.txt")).as_deref(), Some("a; b=c.txt"));
        assert_eq!(quoted_file_name(&header("a\\\"b")).as_deref(), Some("a\"b"));
        assert_eq!(quoted_file_name("form-data; filename=\"a\"; filename*=UTF-8''b").as_deref(), Some("a"));
        assert_eq!(quoted_file_name("form-data; name=\"file\""), None);
    }
}
