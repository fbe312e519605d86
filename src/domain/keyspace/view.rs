//! One key: its description and a page of its value.

use super::Name;
use crate::domain::{Context, Error, Result};
use crate::stores::redis::{self, BrowseCommands, Described, Elements, LARGEST, Page, PendingEntry, StreamGroup};

/// Consumer groups of a stream that are shown, and pending entries of each.
const MAX_GROUPS: usize = 50;
const MAX_PENDING: usize = 10;

pub struct Viewed {
    pub name: Name,
    pub described: Described,
    /// Redis' internal representation: `listpack`, `hashtable`.
    pub encoding: Option<String>,
    pub page: Page,
    /// Of a stream, on its first page.
    pub groups: Vec<StreamGroup>,
    /// The oldest ones of each group.
    pub pending: Vec<PendingEntry>,
}

/// One complete element of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    Field(Vec<u8>),
    Index(u64),
}

/// `from` is empty, or where the previous page ended.
pub async fn view(ctx: &Context, browse: &BrowseCommands<'_>, name: Name, from: &str) -> Result<Viewed> {
    name.check_visible(&ctx.redis)?;
    let described = browse.describe(&[name.as_bytes().to_vec()]).await?.pop();
    let Some((described, kind)) = described.and_then(|described| Some((described.clone(), described.kind?))) else {
        return Err(name.not_found());
    };
    let (encoding, page) =
        futures_util::join!(browse.encoding(name.as_bytes()), browse.value(name.as_bytes(), &kind, described.bytes, from));
    let page = match page {
        // The type changed between the two requests.
        Err(redis::Error::WrongType) => return Err(Error::Conflict(format!("{name} has just been replaced. Reload the page."))),
        Err(redis::Error::Other(_)) if !from.is_empty() => {
            let why = "The address contains an invalid position in this value. Open the value from its start.";
            return Err(Error::refused("position", why));
        }
        page => page?,
    };
    let (mut groups, mut pending) = (Vec::new(), Vec::new());
    if kind == "stream" && from.is_empty() {
        // The ACL may not permit it.
        groups = browse.stream_groups(name.as_bytes(), MAX_GROUPS).await.unwrap_or_default();
        pending = browse.pending_entries(name.as_bytes(), &groups, MAX_PENDING).await.unwrap_or_default();
    }
    Ok(Viewed { name, described, encoding: encoding.ok().flatten(), page, groups, pending })
}

impl Viewed {
    /// The type reported by the server.
    pub fn kind(&self) -> &str {
        self.described.kind.as_deref().unwrap_or_default()
    }

    pub fn is_string(&self) -> bool {
        matches!(self.page.elements, Elements::Bytes(_))
    }
}

/// Up to `count` bytes of a string starting at `from`; fewer at its end. For downloads.
pub async fn piece(ctx: &Context, name: &Name, from: u64, count: u64) -> Result<Vec<u8>> {
    name.check_visible(&ctx.redis)?;
    match ctx.redis.browse().bytes(name.as_bytes(), from, count).await {
        Err(redis::Error::WrongType) => {
            Err(Error::Conflict("Only strings can be downloaded whole. Download single elements of a hash or list from its page.".into()))
        }
        bytes => Ok(bytes?),
    }
}

/// For lists, only the mean element size is known.
async fn is_too_large(browse: &BrowseCommands<'_>, name: &Name, element: &Element) -> Result<bool> {
    let key = name.as_bytes().to_vec();
    let bytes = match element {
        Element::Field(field) => browse.field_length(&key, field).await?,
        Element::Index(_) => {
            let bytes = browse.describe(std::slice::from_ref(&key)).await?.pop().and_then(|described| described.bytes);
            let length = browse.lengths(&[(key, "list".to_owned())]).await?.pop().flatten();
            bytes.unwrap_or(0) / length.unwrap_or(1).max(1)
        }
    };
    Ok(bytes > LARGEST)
}

/// One complete hash field or list element; NotFound if it does not exist.
pub async fn element(ctx: &Context, name: &Name, element: &Element) -> Result<Vec<u8>> {
    name.check_visible(&ctx.redis)?;
    let browse = ctx.redis.browse();
    if is_too_large(&browse, name, element).await? {
        return Err(Error::TooLarge(
            "The element is larger than 16 MiB and would have to be read in one piece. Read it with a Redis client.".into(),
        ));
    }
    let found = match element {
        Element::Field(field) => browse.field(name.as_bytes(), field).await?,
        Element::Index(index) => browse.at_index(name.as_bytes(), *index).await?,
    };
    found.ok_or_else(|| Error::NotFound(format!("{name} no longer contains this element.")))
}
