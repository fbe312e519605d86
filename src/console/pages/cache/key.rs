//! `/cache/key`: one key with its paginated value.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::elements::{self, Listed};
use super::keys::ttl_text;
use super::value::{Format, formatted};
use super::{cost_text, parents};
use crate::console::http::error::{Error, Result};
use crate::console::http::query::Query;
use crate::console::http::session::{Admin, SignedIn};
use crate::console::pages::refused_page;
use crate::console::pages::{Refusal, ok};
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::keyspace::{self, Name, Viewed};
use crate::domain::keyspace::{BYTES, Cost, Decoded, Elements, PendingEntry, Ttl};
use crate::domain::preview;
use crate::domain::{self, Context};

#[derive(Template)]
#[template(path = "pages/cache/key.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub viewed: Viewed,
    pub query: ShowQuery,
    pub refusal: Refusal,
    pub typed: (String, String),
    /// Of a string.
    pub decoded: Option<Decoded>,
    pub cost: Cost,
}

refused_page!(ShowPage);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShowQuery {
    /// Empty for the key with an empty name.
    pub k: Option<String>,
    /// The position in the value where this page starts.
    pub from: String,
    /// `decoded`, `text`, `json` or `hex`.
    #[serde(rename = "as")]
    pub shape: String,
}

impl ShowPage {
    fn ttl(&self) -> String {
        ttl_text(self.viewed.described.ttl)
    }

    fn expires_at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        match self.viewed.described.ttl {
            Ttl::Remaining(left) => crate::clock::now().checked_add_signed(chrono::TimeDelta::from_std(left).ok()?),
            Ttl::None | Ttl::Missing => None,
        }
    }

    fn is_persistent(&self) -> bool {
        self.viewed.described.ttl == Ttl::None
    }

    fn cost(&self) -> String {
        cost_text(self.cost)
    }

    fn field(&self) -> String {
        paths::bytes_field(self.viewed.name.as_bytes())
    }

    fn name(&self) -> &[u8] {
        self.viewed.name.as_bytes()
    }

    fn url(&self, from: &str, shape: &str) -> String {
        paths::cache_key(self.name(), &[("from", from), ("as", shape)])
    }

    fn next_url(&self) -> Option<String> {
        self.viewed.page.next.as_ref().map(|next| self.url(next, &self.query.shape))
    }

    fn first_url(&self) -> Option<String> {
        (!self.query.from.is_empty()).then(|| self.url("", &self.query.shape))
    }

    fn download_url(&self) -> Option<String> {
        self.viewed.is_string().then(|| paths::cache_key_download(self.name()))
    }

    /// The string on this page, in the selected format.
    fn text(&self) -> Option<(Format, String)> {
        if let Elements::Document(text) = &self.viewed.page.elements {
            return Some((Format::Json, preview::json(text).unwrap_or_else(|| text.clone())));
        }
        let Elements::Bytes(bytes) = &self.viewed.page.elements else { return None };
        if let Some(text) = self.decoded_text().filter(|_| matches!(self.query.shape.as_str(), "" | "decoded")) {
            return Some((Format::Decoded, text.to_owned()));
        }
        let offset = self.query.from.parse().unwrap_or(0);
        let whole = offset == 0 && self.viewed.page.next.is_none();
        Some(formatted(bytes, &self.query.shape, whole, offset))
    }

    fn decoded_text(&self) -> Option<&str> {
        self.decoded.as_ref()?.text.as_deref()
    }

    /// The format of a string, such as "gzip, 412 bytes decompressed".
    fn format_text(&self) -> Option<String> {
        let decoded = self.decoded.as_ref()?;
        Some(decoded.note.as_ref().map_or_else(|| decoded.format.clone(), |note| format!("{}, {note}", decoded.format)))
    }

    fn idle(entry: &PendingEntry) -> String {
        ttl_text(Ttl::Remaining(entry.idle))
    }

    fn shapes(&self, open: &Format) -> Vec<(&'static str, String, bool)> {
        let offered = Format::ALL.into_iter().filter(|shape| *shape != Format::Decoded || self.decoded_text().is_some());
        offered.map(|shape| (shape.label(), self.url(&self.query.from, shape.as_str()), shape == *open)).collect()
    }

    fn listed(&self) -> Option<Listed> {
        elements::listed(&self.viewed, &self.query.from)
    }

    /// The reason why the value is not shown.
    fn not_shown_reason(&self) -> Option<String> {
        match self.viewed.page.elements {
            Elements::TooLarge(bytes) if self.viewed.kind() == "ReJSON-RL" => Some(format!(
                "This document uses about {}. Larder does not read JSON documents larger than 4 MiB, because Redis returns them whole.",
                crate::console::view::units::memory_text(bytes)
            )),
            Elements::TooLarge(bytes) => Some(format!(
                "Its elements are about {} each. Larder does not read elements larger than 16 MiB, because they would block Redis and \
                 this page.",
                crate::console::view::units::memory_text(bytes)
            )),
            Elements::Unknown => Some(format!(
                "Larder cannot show values of the type {}, or its Redis user may not read them. Use a Redis client that supports this type.",
                self.viewed.kind()
            )),
            _ => None,
        }
    }

    /// "7 fields".
    fn length(&self) -> String {
        let (one, many) = match self.viewed.kind() {
            "string" => ("byte", "bytes"),
            "hash" => ("field", "fields"),
            "set" | "zset" => ("member", "members"),
            "stream" => ("entry", "entries"),
            _ => ("element", "elements"),
        };
        match self.viewed.page.elements {
            Elements::Document(_) => return "JSON document".to_owned(),
            Elements::Facts(name, _) => return name.to_owned(),
            Elements::Unknown => return "module type".to_owned(),
            _ => {}
        }
        let total = self.viewed.page.total;
        format!("{} {}", crate::console::view::units::count_text(total), if total == 1 { one } else { many })
    }

    fn is_page(&self) -> bool {
        self.next_url().is_some() || self.first_url().is_some()
    }

    fn page_bytes() -> u64 {
        BYTES
    }
}

pub(super) fn name(field: Option<&str>) -> Result<Name> {
    let field = field.ok_or_else(|| Error::BadRequest("The address contains no key.".to_owned()))?;
    let bytes = paths::bytes_from_field(field)
        .ok_or_else(|| Error::BadRequest("The address contains an invalid key: base64url is expected.".to_owned()))?;
    Name::parse(bytes).map_err(|_| Error::BadRequest("The key in the address is longer than 8 KiB.".to_owned()))
}

/// The expiry form contains the current TTL.
pub(super) async fn page(admin: &SignedIn, ctx: &Context, query: ShowQuery) -> Result<ShowPage> {
    let name = name(query.k.as_deref())?;
    let browse = ctx.redis.browse();
    let viewed = match keyspace::view(ctx, &browse, name, &query.from).await {
        Err(domain::Error::Refused { field: "position", why }) => return Err(Error::BadRequest(why)),
        viewed => viewed?,
    };
    let layout = admin.layout(viewed.name.to_string(), Section::Cache).with_parents(parents("Keys", "/cache/keys"));
    let ttl = match viewed.described.ttl {
        Ttl::Remaining(left) => left.as_secs().max(1).to_string(),
        Ttl::None | Ttl::Missing => String::new(),
    };
    let decoded = match &viewed.page.elements {
        Elements::Bytes(bytes) if query.from.is_empty() => keyspace::decode(bytes),
        _ => None,
    };
    Ok(ShowPage { layout, viewed, query, decoded, refusal: Refusal::default(), typed: (ttl, "seconds".into()), cost: browse.cost() })
}

pub async fn show(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    ok(&page(&admin, &ctx, query.read()?).await?)
}
