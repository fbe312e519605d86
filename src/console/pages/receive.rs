//! `POST /buckets/{bucket}/uploads`: receives any number of files in one form and streams them to the store.

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::future::{Ready, ready};
use uuid::Uuid;

use crate::console::http::error::{self, Error, Result};
use crate::console::http::multipart::{FormReader, PartHead, drain, drain_part, file_name, form_error};
use crate::console::http::query::{Bucket, Query};
use crate::console::http::session::{Editor, see_other};
use crate::console::http::{accept, request};
use crate::console::view::paths;
use crate::console::view::upload_row;
use crate::domain::uploads::{self, FileOutcome, Intake, Receiver};
use crate::domain::{self, Context};

/// Files per form.
const MAX_FILES: usize = 10_000;
/// Parts per form that are not files. Larder's own forms have none.
const MAX_FIELDS: usize = 50;
#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    overwrite: Option<String>,
    /// `1`: the form has one file, so a rejection can be sent before the whole file was received.
    #[serde(default)]
    single: Option<String>,
}

/// The request, with its body unread.
pub struct Incoming {
    bucket: Result<Bucket>,
    query: Query,
    form: FormReader,
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
            form: FormReader::new(req.headers(), payload.take()),
            length,
            wants_json: accept::prefers_json(req.headers()),
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
    let batch = receiver.batch;
    let mut reader = FilesReader { intake: Intake::new(receiver), length, stops_early, fields: 0 };
    if let Err(error) = reader.receive(&mut form).await {
        drain(&mut form).await;
        if wants_json {
            // Files that were received completely are stored anyway.
            let files = reader.intake.finish().await;
            return Ok(error::problem(&error, &request::current_id(), batch_json(batch, &files)));
        }
        return Err(error);
    }
    let files = reader.intake.finish().await;
    if files.is_empty() {
        return Err(Error::Unprocessable("No file was selected. Select at least one file and submit the form again.".into()));
    }
    if wants_json {
        return Ok(json_response(batch, files));
    }
    let is_unrecorded = files.iter().all(|ended| matches!(ended.error, Some(domain::Error::Postgres(_))));
    // Postgres recorded nothing that the page of the batch could show.
    match files.into_iter().next().and_then(|first| first.error) {
        Some(error @ domain::Error::Postgres(_)) if is_unrecorded => Err(error.into()),
        _ => Ok(see_other(&paths::batch(batch))),
    }
}

/// The form as it is read.
struct FilesReader {
    intake: Intake,
    length: Option<u64>,
    stops_early: bool,
    fields: usize,
}

impl FilesReader {
    /// Reads the form to its end. An error means that its end was not reached.
    async fn receive(&mut self, form: &mut FormReader) -> Result<()> {
        while let Some(head) = self.intake.next_or_flush(form.next_part()).await.map_err(form_error)? {
            let Some(name) = file_name(&head) else {
                self.fields += 1;
                if self.fields > MAX_FIELDS {
                    return Err(Error::TooLarge(format!("A form may have at most {MAX_FIELDS} fields besides its files.")));
                }
                continue;
            };
            let first = self.intake.next_or_flush(form.next_chunk()).await.map_err(form_error)?;
            // What browsers send for a file input that was left empty.
            if name.is_empty() && first.is_none() {
                continue;
            }
            if self.intake.count() == MAX_FILES {
                return Err(Error::TooLarge(format!(
                    "A form may have at most {MAX_FILES} files. The first {MAX_FILES} files were stored."
                )));
            }
            self.receive_file(form, &head, &name, first).await?;
            if self.stops_early && self.intake.has_failed() {
                drain_part(form).await;
                return Ok(());
            }
        }
        Ok(())
    }

    async fn receive_file(&mut self, form: &mut FormReader, head: &PartHead, name: &str, first: Option<web::Bytes>) -> Result<()> {
        let media = head.content_type.as_ref().map(AsRef::as_ref);
        let Some(mut upload) = self.intake.begin(name, media, self.length).await else { return self.skip(form).await };
        let mut next = first;
        while let Some(chunk) = next {
            if let Err(error) = upload.write(chunk).await {
                self.intake.cancel(upload, error).await;
                return self.skip(form).await;
            }
            next = match self.intake.next_or_flush(uploads::or_release(form.next_chunk(), || upload.release_unused())).await {
                Ok(next) => next,
                Err(error) => {
                    let interrupted = uploads::incomplete("The connection was interrupted before the file was complete.");
                    self.intake.cancel(upload, interrupted).await;
                    return Err(form_error(error));
                }
            };
        }
        self.intake.end(upload).await;
        Ok(())
    }

    /// The other files of the form are not affected: what is left of this one is read and dropped.
    async fn skip(&mut self, form: &mut FormReader) -> Result<()> {
        if !self.stops_early {
            while self.intake.next_or_flush(form.next_chunk()).await.map_err(form_error)?.is_some() {}
        }
        Ok(())
    }
}

/// 201 if any file was stored, else a problem document with the status of the first failure.
fn json_response(batch: Uuid, ended: Vec<FileOutcome>) -> HttpResponse {
    let files = batch_json(batch, &ended);
    let stored = ended.iter().any(|ended| ended.error.is_none());
    let why = ended.first().and_then(|first| first.file.error.clone());
    let first_error = ended.into_iter().find_map(|ended| ended.error).filter(|_| !stored);
    let Some(error) = first_error else { return HttpResponse::Created().json(files) };
    let mut members = Map::from_iter([("detail".to_owned(), json!(why))]);
    members.extend(files);
    error::problem(&error.into(), &request::current_id(), members)
}

/// The result of each file.
fn batch_json(batch: Uuid, ended: &[FileOutcome]) -> Map<String, Value> {
    let files: Vec<Value> = ended.iter().map(|ended| upload_row::json(&ended.file, ended.error.as_ref())).collect();
    Map::from_iter([("batch".to_owned(), json!(batch)), ("files".to_owned(), json!(files))])
}
