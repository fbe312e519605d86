//! `/uploads/{batch}`: the result of one upload form.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::ok;
use crate::console::http::error::{Error, Result};
use crate::console::http::query::Query;
use crate::console::http::session::Viewer;
use crate::console::view::breadcrumbs::Crumb;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::units::count_text;
use crate::console::view::upload_row::UploadRow;
use crate::console::view::{filters, paths};
use crate::domain::Context;
use crate::domain::names::BucketName;
use crate::domain::uploads::{self, BATCH_PAGE, Batch};

#[derive(Template)]
#[template(path = "pages/batch.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub rows: Vec<UploadRow>,
    pub total: i64,
    pub stored: i64,
    pub failed: i64,
    pub again_url: String,
    pub first_url: Option<String>,
    pub next_url: Option<String>,
}

impl ShowPage {
    pub fn of(layout: Layout, id: Uuid, from: i64, batch: Batch) -> Self {
        let rows: Vec<UploadRow> = batch.files.into_iter().map(UploadRow::of).collect();
        let first = rows.first().and_then(|row| Some((BucketName::parse(&row.file.bucket)?, row.folder.split_once('/')?.1.to_owned())));
        let again_url = first.map_or_else(|| "/uploads/new".to_owned(), |(bucket, prefix)| paths::new_upload(Some(&bucket), &prefix));
        let next = from + BATCH_PAGE;
        Self {
            layout,
            rows,
            total: batch.total,
            stored: batch.stored,
            failed: batch.failed,
            again_url,
            first_url: (from > 0).then(|| paths::batch(id)),
            next_url: (next < batch.total).then(|| format!("{}?from={next}", paths::batch(id))),
        }
    }

    fn headline(&self) -> String {
        let (stored, total) = (count(self.stored), count(self.total));
        match (self.failed, self.total) {
            (0, _) if self.stored == 1 => "1 file stored".to_owned(),
            (0, _) => format!("{stored} files stored"),
            (_, 1) => "The file was not stored".to_owned(),
            _ => format!("{stored} of {total} files stored"),
        }
    }

    fn sentence(&self) -> String {
        match self.failed {
            0 if self.stored == 1 => "The file was stored completely and its SHA-256 checksum was recorded.".to_owned(),
            0 => "All files were stored completely and their SHA-256 checksums were recorded.".to_owned(),
            1 if self.total == 1 => "See the reason below.".to_owned(),
            failed if failed == self.total => "See the reason for each file below.".to_owned(),
            1 => "1 file was not stored and is listed first. The other files were stored.".to_owned(),
            failed => format!("{} files were not stored and are listed first. The other files were stored.", count(failed)),
        }
    }
}

fn count(number: i64) -> String {
    count_text(number.unsigned_abs())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShowQuery {
    from: u32,
}

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, batch: web::Path<String>, query: Query) -> Result<HttpResponse> {
    let id = Uuid::parse_str(&batch).map_err(|_| Error::NotFound("Upload not found.".to_owned()))?;
    let from = i64::from(query.read::<ShowQuery>()?.from);
    let batch = uploads::batch(&ctx, &viewer.actor, id, from).await?;
    let layout = viewer.layout("Upload", Section::Uploads).with_parents([Crumb::link("Uploads", "/uploads")]);
    ok(&ShowPage::of(layout, id, from, batch))
}
