//! `/buckets/{bucket}/object`: preview, details and activity of an object.

pub mod links;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Refusal, with_status};
use crate::console::http::error::{Error, Result};
use crate::console::http::held_body::UntilSent;
use crate::console::http::query::{self, Bucket, Query};
use crate::console::http::session::{SignedIn, Viewer};
use crate::console::pages::refused_page;
use crate::console::view::breadcrumbs::{self, Crumb};
use crate::console::view::events::EventSummary;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filetype, filters, paths};
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::objects::{self, Object, Origin};
use crate::domain::preview::{self, MediaKind, Preview};
use crate::domain::slots::Slot;
use crate::domain::{Context, audit};

/// Events shown on the page. The audit log has all of them.
const EVENTS: i64 = 10;

/// The choices of the link form: seconds and label.
pub const LIFETIMES: [(u32, &str); 5] = [(300, "5 minutes"), (3600, "1 hour"), (86_400, "1 day"), (259_200, "3 days"), (604_800, "7 days")];

#[derive(Template)]
#[template(path = "pages/object.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub object: Object,
    pub preview: Preview,
    /// `None` while Postgres is unavailable.
    pub events: Option<Vec<EventSummary>>,
    /// The host of links, if only programs on that machine can reach it.
    pub local_link_host: Option<String>,
    pub refusal: Refusal,
}

refused_page!(ShowPage);

impl ShowPage {
    pub fn name(&self) -> &str {
        self.object.key.name()
    }

    pub fn address(&self) -> String {
        format!("s3://{}/{}", self.object.bucket, self.object.key)
    }

    pub fn place(&self) -> String {
        format!("{}/{}", self.object.bucket, self.object.key.folder())
    }

    pub fn type_label(&self) -> &'static str {
        filetype::of(self.name()).label
    }

    pub fn folder_url(&self) -> String {
        paths::folder(&self.object.bucket, self.object.key.folder())
    }

    pub fn download_url(&self) -> String {
        paths::download(&self.object.bucket, &self.object.key)
    }

    pub fn preview_url(&self) -> String {
        paths::preview(&self.object.bucket, &self.object.key)
    }

    pub fn links_url(&self) -> String {
        paths::links(&self.object.bucket)
    }

    pub fn deletions_url(&self) -> String {
        paths::deletions(&self.object.bucket)
    }

    pub fn field(&self) -> String {
        paths::field(self.object.key.as_str())
    }

    pub fn uploaded_by(&self) -> Option<&str> {
        match &self.object.origin {
            Origin::Larder { by, .. } => Some(by),
            _ => None,
        }
    }

    pub fn sha256(&self) -> Option<&str> {
        match &self.object.origin {
            Origin::Larder { sha256, .. } => sha256.as_deref(),
            _ => None,
        }
    }

    pub fn is_changed(&self) -> bool {
        self.object.origin == Origin::Changed
    }

    pub fn audit_url(&self) -> String {
        paths::audit(&[("resource", &self.address())])
    }

    pub fn lifetimes(&self) -> [(u32, &'static str); 5] {
        LIFETIMES
    }

    fn is(&self, kind: &MediaKind, name: &str) -> bool {
        name == match kind {
            MediaKind::Image => "image",
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Pdf => "pdf",
        }
    }
}

#[derive(Deserialize)]
pub struct ShowQuery {
    #[serde(default)]
    key: String,
    #[serde(default)]
    version: String,
}

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, target: (Bucket, Query)) -> Result<HttpResponse> {
    let (bucket, query) = (target.0.0, target.1.read::<ShowQuery>()?);
    let key = query::key(query.key)?;
    let version = Some(query.version).filter(|version| !version.is_empty());
    let (page, slot) = page_and_slot(&viewer, &ctx, (&bucket, &key), version.as_deref()).await?;
    let mut response = with_status(StatusCode::OK, &page)?;
    if let Some(slot) = slot {
        response.extensions_mut().insert(UntilSent(Box::new(slot)));
    }
    Ok(response)
}

pub(super) async fn page(person: &SignedIn, ctx: &Context, of: (&BucketName, &ObjectKey), version: Option<&str>) -> Result<ShowPage> {
    page_and_slot(person, ctx, of, version).await.map(|(page, _)| page)
}

/// The page, and the slot of its preview. Without a free slot, the page has no preview.
async fn page_and_slot(
    person: &SignedIn,
    ctx: &Context,
    (bucket, key): (&BucketName, &ObjectKey),
    version: Option<&str>,
) -> Result<(ShowPage, Option<Slot>)> {
    let object = objects::find(ctx, bucket, key, version).await?;
    let (preview, slot) = match ctx.previews.take_for(&person.actor, preview::MAX_PER_PERSON) {
        Ok(slot) => (audited(person, ctx, &object, preview::of(ctx, &object).await?).await?, Some(slot)),
        Err(busy) => (Preview::None(busy.to_string()), None),
    };
    let resource = format!("s3://{bucket}/{key}");
    let events = match audit::of_resource(ctx, &person.actor, &resource, EVENTS).await.map_err(Error::from) {
        Ok(events) => Some(EventSummary::all(&events)),
        Err(error @ Error::Unavailable { .. }) => {
            error.log(&person.actor.request_id);
            None
        }
        Err(error) => return Err(error),
    };
    let local_link_host = objects::local_link_host(ctx);
    let layout = layout(person, key.name(), bucket, key);
    let page = ShowPage { layout, object, preview, events, local_link_host, refusal: Refusal::default() };
    Ok((page, slot))
}

/// Records the view of a text preview, which is part of the page. Media are requested by the browser and recorded then.
async fn audited(person: &SignedIn, ctx: &Context, object: &Object, preview: Preview) -> Result<Preview> {
    if !matches!(preview, Preview::Text { .. } | Preview::Json { .. } | Preview::Csv { .. }) {
        return Ok(preview);
    }
    let bytes = object.size.min(preview::TEXT_LIMIT);
    match objects::record_preview(ctx, &person.actor, person.session.id, object, bytes).await.map_err(Error::from) {
        Ok(()) => Ok(preview),
        Err(error @ Error::Unavailable { .. }) => {
            error.log(&person.actor.request_id);
            Ok(Preview::None("The preview is unavailable because Larder cannot record in Postgres who viewed it.".into()))
        }
        Err(error) => Err(error),
    }
}

/// The layout of a page about one object, with its folders in the breadcrumb.
pub(super) fn layout(person: &SignedIn, title: &str, bucket: &BucketName, key: &ObjectKey) -> Layout {
    let (folder, mut parents) = breadcrumbs::folder(bucket, key.folder());
    parents.push(Crumb::link(folder, paths::folder(bucket, key.folder())));
    person.layout(title, Section::Buckets).with_parents(parents)
}
