//! `POST /buckets/{bucket}/uploads`: any number of files in one form, streamed to the store as they come.

use actix_multipart::Multipart;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::{Ready, ready};

use crate::console::error::{self, Error, Result};
use crate::console::multipart::{Form, Once, Part, broken, drain, drain_field, file_name};
use crate::console::query::{Bucket, Query};
use crate::console::session::{Editor, see_other};
use crate::console::{paths, request};
use crate::domain::uploads::{File, FileState, Receiver};
use crate::domain::{self, Context};

/// Files of one form.
const MAX_FILES: usize = 10_000;
/// Parts of one form that are not files; our own forms have none.
const MAX_FIELDS: usize = 50;
#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    overwrite: Option<String>,
    /// `1`: the form has one file, so that where it is refused the rest of it need not be sent.
    #[serde(default)]
    single: Option<String>,
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

pub async fn create(editor: Editor, ctx: web::Data<Context>, incoming: Incoming) -> Result<HttpResponse> {
    let Incoming { bucket, query, mut form, length, wants_json } = incoming;
    let opened = async {
        let Target { prefix, overwrite, single } = query.read()?;
        let is_one = |flag: Option<String>| flag.as_deref() == Some("1");
        let receiver = Receiver::open(&ctx, &editor.actor, bucket?.0, &prefix, is_one(overwrite)).await?;
        Ok::<_, Error>((receiver, is_one(single)))
    };
    let (receiver, stops_early) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            drain(&mut form).await;
            return Err(error);
        }
    };
    let mut arrived = Arrived { receiver, length, stops_early, files: Vec::new(), fields: 0, first_error: None };
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
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            answer.insert_header(("retry-after", "5"));
        }
        answer.insert_header((CONTENT_TYPE, media)).body(body.to_string())
    }
}

fn row(file: &File) -> Value {
    let status = if file.state == FileState::Ready { "stored" } else { "failed" };
    json!({ "key": file.key, "size": file.size, "sha256": file.sha256, "etag": file.etag, "status": status, "error": file.error })
}
