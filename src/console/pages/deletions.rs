//! `/buckets/{bucket}/deletions`: a confirmation that lists the objects, then their conditional deletion.

mod form;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{Refusal, with_status};
use crate::console::http::body::BULK;
use crate::console::http::error::{Error, Result};
use crate::console::http::query::{Bucket, Form, Query};
use crate::console::http::session::{Editor, SignedIn, see_other};
use crate::console::pages::refused_page;
use crate::console::view::breadcrumbs::{self, Crumb};
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, name_markup, paths, units};
use crate::domain::Context;
use crate::domain::buckets::{self, Versioning};
use crate::domain::names::BucketName;
use crate::domain::objects::{self, DeleteOutcome, ObjectToDelete};
use form::DeletionForm;

/// Above this number the user must type the name of the bucket.
const CONFIRM_ABOVE: usize = 100;
/// The most objects listed individually.
const MAX_LISTED: usize = 100;

#[derive(Template)]
#[template(path = "pages/deletions.html")]
pub struct ConfirmPage {
    pub layout: Layout,
    pub bucket: BucketName,
    pub chosen: Vec<Chosen>,
    pub typed: String,
    /// `None` if the store does not report it.
    pub versioning: Option<Versioning>,
    pub refusal: Refusal,
}

refused_page!(ConfirmPage);

impl ConfirmPage {
    pub fn needs_name(&self) -> bool {
        self.chosen.len() > CONFIRM_ABOVE
    }

    pub fn count_text(&self) -> String {
        object_count(self.chosen.len())
    }

    pub fn bytes(&self) -> Option<u64> {
        bytes(&self.chosen)
    }

    /// What remains after the deletion.
    pub fn consequence(&self) -> &'static str {
        match (self.versioning, self.chosen.len()) {
            (Some(Versioning::On), _) => {
                "The bucket is versioned: earlier versions remain in the store and use space. To restore an object, delete its delete marker there."
            }
            (Some(Versioning::Suspended), _) => {
                "Versioning of the bucket is suspended: only versions from before the suspension remain in the store and can be restored there."
            }
            (Some(Versioning::Off), _) => "This cannot be undone.",
            (None, 1) => "Larder cannot restore it.",
            (None, _) => "Larder cannot restore them.",
        }
    }

    fn listed(&self) -> &[Chosen] {
        &self.chosen[..self.chosen.len().min(MAX_LISTED)]
    }

    fn unlisted(&self) -> usize {
        self.chosen.len().saturating_sub(MAX_LISTED)
    }

    fn folder_url(&self) -> String {
        folder_of(&self.bucket, &self.chosen)
    }

    fn url(&self) -> String {
        paths::deletions(&self.bucket)
    }
}

/// A selected object with the ETag that the user saw. The size is for display only.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub target: ObjectToDelete,
    pub size: Option<u64>,
}

impl Chosen {
    fn field(&self) -> String {
        paths::field(self.target.key.as_str())
    }
}

#[derive(Template)]
#[template(path = "pages/deletions_result.html")]
pub struct ResultPage {
    pub layout: Layout,
    pub bucket: BucketName,
    pub kept: Vec<(String, String)>,
    pub deleted: Vec<String>,
}

impl ResultPage {
    fn bucket_url(&self) -> String {
        paths::bucket(&self.bucket)
    }

    pub fn of(layout: Layout, bucket: BucketName, outcomes: Vec<(String, DeleteOutcome)>) -> Self {
        let (deleted, kept): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, outcome)| matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::AlreadyDeleted));
        let kept = kept.into_iter().map(|(key, outcome)| (key, reason(&outcome))).collect();
        Self { layout, bucket, kept, deleted: deleted.into_iter().map(|(key, _)| key).collect() }
    }
}

fn reason(outcome: &DeleteOutcome) -> String {
    match outcome {
        DeleteOutcome::Changed => "The object was changed after you opened the page.".to_owned(),
        DeleteOutcome::Failed(why) => why.clone(),
        DeleteOutcome::Deleted | DeleteOutcome::AlreadyDeleted => String::new(),
    }
}

pub fn object_count(count: usize) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{} objects", units::count_text(count as u64)) }
}

/// The total size, if all sizes are known. They come from the form.
fn bytes(chosen: &[Chosen]) -> Option<u64> {
    chosen.iter().try_fold(0, |sum: u64, chosen| Some(sum.saturating_add(chosen.size?)))
}

fn folder_of(bucket: &BucketName, chosen: &[Chosen]) -> String {
    paths::folder(bucket, chosen.first().map_or("", |chosen| chosen.target.key.folder()))
}

#[derive(Deserialize)]
pub struct ShowQuery {
    id: Uuid,
}

pub async fn create(
    editor: Editor,
    ctx: web::Data<Context>,
    bucket: Bucket,
    form: Form<Vec<(String, String)>, BULK>,
) -> Result<HttpResponse> {
    let form = DeletionForm::read(form.read().await?)?;
    if form.chosen.is_empty() {
        return Ok(editor.redirect(&paths::bucket(&bucket.0), Flash::warn("No objects were selected. Nothing was deleted.")));
    }
    let mut page = confirm_page(&editor, bucket.0, form.chosen);
    let is_mistyped = form.confirmed && page.needs_name() && form.typed != page.bucket.as_str();
    if !form.confirmed || is_mistyped {
        page.versioning = buckets::versioning(&ctx, &page.bucket).await;
    }
    if !form.confirmed {
        return with_status(StatusCode::OK, &page);
    }
    if is_mistyped {
        page.refusal = Refusal { field: "name", why: format!("Type {} exactly as shown.", page.bucket) };
        page.typed = form.typed;
        return super::unprocessable(&page);
    }
    let targets: Vec<ObjectToDelete> = page.chosen.iter().map(|chosen| chosen.target.clone()).collect();
    let outcomes = objects::delete(&ctx, &editor.actor, &page.bucket, &targets).await?;
    match outcomes.as_slice() {
        [(only, outcome)] => one(&editor, &page, only, outcome),
        _ => match objects::keep_deletion_result(&ctx, &editor.actor, &outcomes).await {
            Some(id) => Ok(see_other(&paths::deletion_result(&page.bucket, id))),
            // Without Redis the result cannot be stored under its own URL and is shown directly.
            None => {
                let outcomes = outcomes.into_iter().map(|(target, outcome)| (target.key.to_string(), outcome)).collect();
                super::ok(&result_page(&editor, page.bucket, outcomes))
            }
        },
    }
}

/// The response for a single object.
fn one(editor: &SignedIn, page: &ConfirmPage, object: &ObjectToDelete, outcome: &DeleteOutcome) -> Result<HttpResponse> {
    let name = name_markup::plain(object.key.name());
    match outcome {
        DeleteOutcome::Deleted => Ok(editor.redirect(&page.folder_url(), Flash::done(format!("Deleted {name}.")))),
        DeleteOutcome::AlreadyDeleted => Ok(editor.redirect(&page.folder_url(), Flash::warn(format!("{name} had already been deleted.")))),
        DeleteOutcome::Changed => Err(Error::Conflict(format!(
            "{name} was changed after you opened it, so it was not deleted. Open it again to check the current version."
        ))),
        DeleteOutcome::Failed(why) => Ok(editor.redirect(&page.folder_url(), Flash::bad(format!("{name} was not deleted: {why}")))),
    }
}

fn confirm_page(editor: &SignedIn, bucket: BucketName, chosen: Vec<Chosen>) -> ConfirmPage {
    let title = match chosen.as_slice() {
        [one] => format!("Delete {}?", name_markup::plain(one.target.key.name())),
        many => format!("Delete {} from {bucket}?", object_count(many.len())),
    };
    let (folder, mut parents) = breadcrumbs::folder(&bucket, chosen.first().map_or("", |chosen| chosen.target.key.folder()));
    parents.push(Crumb::link(folder, folder_of(&bucket, &chosen)));
    ConfirmPage {
        layout: editor.layout(title, Section::Buckets).with_parents(parents),
        bucket,
        chosen,
        typed: String::new(),
        versioning: None,
        refusal: Refusal::default(),
    }
}

pub async fn show(editor: Editor, ctx: web::Data<Context>, bucket: Bucket, query: Query) -> Result<HttpResponse> {
    let ShowQuery { id } = query.read()?;
    let outcomes = objects::deletion_result(&ctx, &editor.actor, id).await;
    let outcomes = outcomes.ok_or_else(|| Error::NotFound("This result has expired. The audit log shows what was deleted.".to_owned()))?;
    super::ok(&result_page(&editor, bucket.0, outcomes))
}

fn result_page(editor: &SignedIn, bucket: BucketName, outcomes: Vec<(String, DeleteOutcome)>) -> ResultPage {
    ResultPage::of(editor.layout("Deleted", Section::Buckets).with_parents(breadcrumbs::bucket(&bucket)), bucket, outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::ObjectKey;

    #[test]
    fn the_sum_of_huge_sizes_does_not_overflow() {
        let chosen =
            |size| Chosen { target: ObjectToDelete { key: ObjectKey::parse("a".to_owned()).unwrap(), etag: "x".to_owned() }, size };
        assert_eq!(bytes(&[chosen(Some(u64::MAX)), chosen(Some(u64::MAX))]), Some(u64::MAX));
        assert_eq!(bytes(&[chosen(None), chosen(Some(1))]), None);
    }
}
