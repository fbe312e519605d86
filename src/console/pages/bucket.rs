//! `/buckets/{bucket}`: the object browser, with folders and objects in the order of the store.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

pub mod folders;
mod rows;

use super::{Refusal, with_status};
use crate::config::Config;
use crate::console::http::error::Result;
use crate::console::http::query::{Bucket, Query};
use crate::console::http::session::{SignedIn, Viewer, see_other};
use crate::console::pages::refused_page;
use crate::console::view::breadcrumbs;
use crate::console::view::cursor_history::{self, CursorHistory, PageCursor};
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths, shell};
use crate::domain::names::BucketName;
use crate::domain::objects::{self, ListQuery, Listing, ResolvedPath};
use crate::domain::{self, Context};

pub use rows::{FolderRow, ObjectRow};

const LIMITS: [i32; 3] = [100, 500, 1000];

#[derive(Template)]
#[template(path = "pages/bucket.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub bucket: BucketName,
    pub place: Location,
    pub folders: Vec<FolderRow>,
    pub objects: Vec<ObjectRow>,
    /// Folders on later pages.
    pub later: Vec<FolderRow>,
    /// Whether there may be more later folders than these.
    pub may_have_more_folders: bool,
    /// Key and ETag of the folder marker, for the button that deletes an empty folder.
    pub marker: Option<String>,
    pub next_url: Option<String>,
    pub back_url: Option<String>,
    pub max_size: u64,
    /// The endpoint in the example command.
    pub endpoint: Option<String>,
    pub to: String,
    pub new_folder: String,
    pub refusal: Refusal,
}

refused_page!(ShowPage);

/// The folder and the position in its listing.
#[derive(Clone, Debug, Default)]
pub struct Location {
    pub prefix: String,
    pub starts: String,
    pub limit: i32,
    pub offset: u64,
    pub cursor: String,
    pub history: CursorHistory,
}

impl ShowPage {
    pub fn count(&self) -> usize {
        self.folders.len() + self.objects.len()
    }

    /// Whether the whole folder is on this page.
    pub fn is_whole(&self) -> bool {
        self.place.offset == 0 && self.place.cursor.is_empty() && self.next_url.is_none()
    }

    pub fn is_empty(&self) -> bool {
        self.count() == 0 && self.is_whole() && self.place.starts.is_empty()
    }

    /// Whether no object is in this folder, not even its marker.
    pub fn is_missing(&self) -> bool {
        self.is_empty() && self.marker.is_none() && !self.place.prefix.is_empty()
    }

    /// Where a missing folder would be created.
    pub fn parent_folders_url(&self) -> String {
        let inner = self.place.prefix.trim_end_matches('/');
        paths::folders(&self.bucket, &inner[..inner.rfind('/').map_or(0, |at| at + 1)])
    }

    pub fn bytes(&self) -> u64 {
        self.objects.iter().fold(0, |sum, row| sum.saturating_add(row.entry.size))
    }

    pub fn address(&self) -> String {
        format!("{}/{}", self.bucket, self.place.prefix)
    }

    pub fn upload_url(&self) -> String {
        paths::new_upload(Some(&self.bucket), &self.place.prefix)
    }

    pub fn form_url(&self) -> String {
        paths::uploads_into(&self.bucket, &self.place.prefix, false)
    }

    pub fn folders_url(&self) -> String {
        paths::folders(&self.bucket, &self.place.prefix)
    }

    pub fn deletions_url(&self) -> String {
        paths::deletions(&self.bucket)
    }

    pub fn settings_url(&self) -> String {
        paths::settings(&self.bucket)
    }

    pub fn unfinished_url(&self) -> String {
        paths::unfinished(&self.bucket, &[])
    }

    pub fn url(&self) -> String {
        paths::bucket(&self.bucket)
    }

    pub fn folder_url(&self) -> String {
        paths::folder(&self.bucket, &self.place.prefix)
    }

    /// The first page with `limit` rows.
    pub fn limit_url(&self, limit: &i32) -> String {
        let limit = limit.to_string();
        paths::listing(&self.bucket, &[("prefix", &self.place.prefix), ("starts", &self.place.starts), ("limit", &limit)])
    }

    pub fn first_url(&self) -> String {
        self.limit_url(&self.place.limit)
    }

    /// The first page, unless this is the first page.
    pub fn first_link(&self) -> Option<String> {
        (!self.place.cursor.is_empty()).then(|| self.first_url())
    }

    /// The example command, for POSIX shells.
    pub fn command(&self) -> String {
        let copy = format!("aws s3 cp scan-0001.pdf {}", shell::quoted(&format!("s3://{}", self.address())));
        match &self.endpoint {
            Some(url) => format!("{copy} \\\n  --endpoint-url {}", shell::quoted(url)),
            None => copy,
        }
    }

    pub fn limits(&self) -> [i32; 3] {
        LIMITS
    }

    pub fn last_row(&self) -> u64 {
        self.place.offset.saturating_add(self.count() as u64)
    }
}

#[derive(Deserialize, Default)]
pub struct ShowQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    starts: String,
    #[serde(default)]
    cursor: String,
    #[serde(default)]
    limit: String,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    back: String,
    #[serde(default)]
    offset: String,
}

impl ShowQuery {
    /// Splits a prefix without a trailing slash into the folder and the start of a name.
    fn place(self) -> Location {
        let cut = self.prefix.rfind('/').map_or(0, |at| at + 1);
        let (prefix, rest) = self.prefix.split_at(cut);
        Location {
            prefix: prefix.to_owned(),
            starts: format!("{rest}{}", self.starts),
            limit: self.limit.parse().unwrap_or(LIMITS[0]).clamp(1, 1000),
            offset: cursor_history::parse_offset(&self.offset).unwrap_or_default(),
            cursor: self.cursor,
            history: CursorHistory::parse(&self.back),
        }
    }
}

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, bucket: Bucket, query: Query) -> Result<HttpResponse> {
    let mut query: ShowQuery = query.read()?;
    let mut invalid_target = None;
    if let Some(to) = query.to.take() {
        match objects::resolve_path(&ctx, &bucket.0, &to).await {
            Ok(ResolvedPath::Folder { bucket, prefix }) => return Ok(see_other(&paths::folder(&bucket, &prefix))),
            Ok(ResolvedPath::Object { bucket, key }) => return Ok(see_other(&paths::object(&bucket, &key))),
            Err(domain::Error::Refused { why, .. } | domain::Error::NotFound(why)) => invalid_target = Some((to, why)),
            Err(error) => return Err(error.into()),
        }
    }
    let mut page = page(&viewer, &ctx, bucket.0, query.place()).await?;
    match invalid_target {
        Some((to, why)) => {
            page.to = to;
            page.refusal = Refusal { field: "to", why };
            super::unprocessable(&page)
        }
        None if page.is_missing() => with_status(StatusCode::NOT_FOUND, &page),
        None => with_status(StatusCode::OK, &page),
    }
}

/// The first page of a folder, with a rejected folder name.
pub(super) async fn with_refused_folder(
    person: &SignedIn,
    ctx: &Context,
    (bucket, prefix): (BucketName, String),
    (name, why): (String, String),
) -> Result<ShowPage> {
    let place = ShowQuery { prefix, ..ShowQuery::default() }.place();
    let page = page(person, ctx, bucket, place).await?;
    Ok(ShowPage { new_folder: name, refusal: Refusal { field: "name", why }, ..page })
}

async fn page(person: &SignedIn, ctx: &Context, bucket: BucketName, place: Location) -> Result<ShowPage> {
    let query = ListQuery {
        prefix: place.prefix.clone(),
        starts_with: place.starts.clone(),
        cursor: (!place.cursor.is_empty()).then(|| place.cursor.clone()),
        limit: place.limit,
    };
    let listing = objects::list(ctx, &bucket, &query).await?;
    let (title, parents) = breadcrumbs::folder(&bucket, &place.prefix);
    let layout = person.layout(title, Section::Buckets).with_parents(parents);
    Ok(assemble(layout, bucket, place, listing, &ctx.config))
}

pub fn assemble(layout: Layout, bucket: BucketName, place: Location, listing: Listing, config: &Config) -> ShowPage {
    let limit = place.limit.to_string();
    let page_url = |cursor: &PageCursor, history: &CursorHistory| {
        let (offset, history) = (cursor.offset.to_string(), history.to_string());
        let offset = if cursor.offset == 0 { "" } else { offset.as_str() };
        let parameters = [
            ("prefix", place.prefix.as_str()),
            ("starts", &place.starts),
            ("limit", &limit),
            ("cursor", &cursor.cursor),
            ("offset", offset),
            ("back", &history),
        ];
        paths::listing(&bucket, &parameters)
    };
    let here = PageCursor { offset: place.offset, cursor: place.cursor.clone() };
    let shown = (listing.folders.len() + listing.objects.len()) as u64;
    let next_url =
        listing.next.map(|cursor| page_url(&PageCursor { offset: place.offset.saturating_add(shown), cursor }, &place.history.with(here)));
    let back_url = place.history.previous().map(|(cursor, history)| page_url(&cursor, &history));
    let mut folders: Vec<FolderRow> = listing.folders.into_iter().map(|folder| FolderRow::of(&bucket, folder)).collect();
    let mut objects: Vec<ObjectRow> = listing.objects.into_iter().map(|entry| ObjectRow::of(&bucket, entry)).collect();
    rows::mark_similar(&mut folders, &mut objects);
    ShowPage {
        layout,
        folders,
        objects,
        later: listing.later.folders.into_iter().map(|folder| FolderRow::of(&bucket, folder)).collect(),
        may_have_more_folders: next_url.is_some() && !listing.later.is_complete,
        marker: listing.marker.map(|(key, etag)| format!("{}:{etag}", paths::field(key.as_str()))),
        next_url,
        back_url,
        max_size: domain::uploads::largest(&config.upload),
        endpoint: config.s3.public_url.clone().or_else(|| config.s3.endpoint.clone()),
        to: String::new(),
        new_folder: String::new(),
        refusal: Refusal::default(),
        place,
        bucket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_without_a_slash_filters_names() {
        let place = ShowQuery { prefix: "a/b".into(), ..ShowQuery::default() }.place();
        assert_eq!((place.prefix.as_str(), place.starts.as_str(), place.limit), ("a/", "b", 100));
    }

    #[test]
    fn an_invalid_offset_is_clamped() {
        for (text, expected) in [("", 0), ("x", 0), ("-1", 0), ("200", 200), ("18446744073709551615", 1 << 53)] {
            let place = ShowQuery { offset: text.into(), ..ShowQuery::default() }.place();
            assert_eq!(place.offset, expected, "{text}");
        }
    }
}
