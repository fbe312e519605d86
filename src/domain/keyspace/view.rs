//! One key: what it is, and a page of its value.

use super::Name;
use crate::domain::{Context, Error, Result};
use crate::stores::redis::{self, BrowseCommands, Described, Elements, LARGEST, Page};

pub struct Viewed {
    pub name: Name,
    pub described: Described,
    /// How the server keeps it: `listpack`, `hashtable`.
    pub encoding: Option<String>,
    pub page: Page,
}

/// One element of a key, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    Field(Vec<u8>),
    Index(u64),
}

/// `from` is empty, or where the page before this one ended.
pub async fn view(ctx: &Context, browse: &BrowseCommands<'_>, name: Name, from: &str) -> Result<Viewed> {
    name.judge(&ctx.redis)?;
    let described = browse.describe(&[name.as_bytes().to_vec()]).await?.pop();
    let Some((described, kind)) = described.and_then(|described| Some((described.clone(), described.kind?))) else {
        return Err(name.is_gone());
    };
    let (encoding, page) =
        futures_util::join!(browse.encoding(name.as_bytes()), browse.value(name.as_bytes(), &kind, described.bytes, from));
    let page = match page {
        // Another type took its place between the two questions.
        Err(redis::Error::WrongType) => return Err(Error::Conflict(format!("{name} has just been replaced. BrowseCommands again."))),
        page => page?,
    };
    Ok(Viewed { name, described, encoding: encoding.ok().flatten(), page })
}

impl Viewed {
    /// The kind that the server named.
    pub fn kind(&self) -> &str {
        self.described.kind.as_deref().unwrap_or_default()
    }

    pub fn is_string(&self) -> bool {
        matches!(self.page.elements, Elements::Bytes(_))
    }
}

/// Bytes of a string from `from` on, at most `count`; fewer at its end. For downloads.
pub async fn piece(ctx: &Context, name: &Name, from: u64, count: u64) -> Result<Vec<u8>> {
    name.judge(&ctx.redis)?;
    match ctx.redis.browse().bytes(name.as_bytes(), from, count).await {
        Err(redis::Error::WrongType) => {
            Err(Error::Conflict("Only a string is downloaded whole. Of a hash or a list, download single elements from its page.".into()))
        }
        bytes => Ok(bytes?),
    }
}

/// Of a list only the mean of its elements is known.
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

/// One field of a hash or element of a list, whole; NotFound where there is none.
pub async fn element(ctx: &Context, name: &Name, element: &Element) -> Result<Vec<u8>> {
    name.judge(&ctx.redis)?;
    let browse = ctx.redis.browse();
    if is_too_large(&browse, name, element).await? {
        return Err(Error::TooLarge(
            "It has more than 16 MiB, and would have to come from Redis in one piece. Read it with a program.".into(),
        ));
    }
    let found = match element {
        Element::Field(field) => browse.field(name.as_bytes(), field).await?,
        Element::Index(index) => browse.at_index(name.as_bytes(), *index).await?,
    };
    found.ok_or_else(|| Error::NotFound(format!("{name} does not hold this any more.")))
}
