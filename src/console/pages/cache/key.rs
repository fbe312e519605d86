//! `/cache/key`: one key with its paginated value, its expiry and its deletion.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::keys::ttl_text;
use super::value::{Cell, Format, formatted};
use super::{cost_text, parents};
use crate::console::http::body::BULK;
use crate::console::http::error::{Error, Result};
use crate::console::http::query::{Form, Query};
use crate::console::http::session::{Admin, SignedIn};
use crate::console::pages::refused_page;
use crate::console::pages::{Refusal, ok, unprocessable};
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::keyspace::{self, Name, Viewed};
use crate::domain::keyspace::{BYTES, Cost, Elements, Pairs, Ttl};
use crate::domain::{self, Context};

#[derive(Template)]
#[template(path = "pages/cache/key.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub viewed: Viewed,
    pub query: ShowQuery,
    pub refusal: Refusal,
    pub typed: (String, String),
    pub cost: Cost,
}

refused_page!(ShowPage);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShowQuery {
    pub k: String,
    /// The position in the value where this page starts.
    pub from: String,
    /// `text`, `json` or `hex`.
    #[serde(rename = "as")]
    pub shape: String,
}

/// A table of elements.
pub struct Listed {
    pub head: Vec<&'static str>,
    pub rows: Vec<Listing>,
}

pub struct Listing {
    pub cells: Vec<Cell>,
    /// Downloads the whole element if it is truncated.
    pub download: Option<String>,
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
        self.viewed.is_string().then(|| paths::cache_key_download(self.name(), &[]))
    }

    /// The string on this page, in the selected format.
    fn text(&self) -> Option<(Format, String)> {
        let Elements::Bytes(bytes) = &self.viewed.page.elements else { return None };
        let offset = self.query.from.parse().unwrap_or(0);
        let whole = offset == 0 && self.viewed.page.next.is_none();
        Some(formatted(bytes, &self.query.shape, whole, offset))
    }

    fn shapes(&self, open: &Format) -> Vec<(&'static str, String, bool)> {
        Format::ALL.into_iter().map(|shape| (shape.label(), self.url(&self.query.from, shape.as_str()), shape == *open)).collect()
    }

    fn listed(&self) -> Option<Listed> {
        let row = |cells: Vec<&[u8]>| Listing { cells: cells.into_iter().map(Cell::of).collect(), download: None };
        let (head, rows) = match &self.viewed.page.elements {
            Elements::Hash(fields) => {
                let whole = |field: &[u8]| paths::cache_key_download(self.name(), &[("field", &paths::bytes_field(field))]);
                let row = |(field, value): &(Vec<u8>, Vec<u8>)| Listing { download: Some(whole(field)), ..row(vec![field, value]) };
                (vec!["Field", "Value"], fields.iter().map(row).collect())
            }
            Elements::List(values) => {
                let start: u64 = self.query.from.parse().unwrap_or(0);
                let whole = |index: &str| paths::cache_key_download(self.name(), &[("index", index)]);
                let row = |(at, value): (usize, &Vec<u8>)| {
                    let index = (start + at as u64).to_string();
                    Listing { download: Some(whole(&index)), ..row(vec![index.as_bytes(), value]) }
                };
                (vec!["Index", "Value"], values.iter().enumerate().map(row).collect())
            }
            Elements::Set(members) => (vec!["Member"], members.iter().map(|member| row(vec![member])).collect()),
            Elements::SortedSet(members) => {
                (vec!["Score", "Member"], members.iter().map(|(member, score)| row(vec![score.as_bytes(), member])).collect())
            }
            Elements::Stream(entries) => {
                let of = |(id, fields): &(String, Pairs)| {
                    let text: Vec<u8> = fields.iter().flat_map(|(field, value)| [field, &b": "[..], value, &b"  "[..]].concat()).collect();
                    row(vec![id.as_bytes(), text.trim_ascii_end()])
                };
                (vec!["ID", "Fields"], entries.iter().map(of).collect())
            }
            Elements::Bytes(_) | Elements::TooLarge(_) | Elements::Unknown => return None,
        };
        Some(Listed { head, rows })
    }

    /// The reason why the value is not shown.
    fn not_shown_reason(&self) -> Option<String> {
        match self.viewed.page.elements {
            Elements::TooLarge(bytes) => Some(format!(
                "Its elements are about {} each. Larder does not read elements larger than 16 MiB, because they would block Redis and \
                 this page.",
                crate::console::view::units::memory_text(bytes)
            )),
            Elements::Unknown => Some("Values of this module type cannot be shown.".to_owned()),
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

pub(super) fn name(field: &str) -> Result<Name> {
    let bytes = paths::bytes_from_field(field)
        .ok_or_else(|| Error::BadRequest("The address contains an invalid key: base64url is expected.".to_owned()))?;
    Name::parse(bytes).map_err(|_| Error::BadRequest("The key in the address is empty or longer than 8 KiB.".to_owned()))
}

async fn page(admin: &SignedIn, ctx: &Context, query: ShowQuery) -> Result<ShowPage> {
    let name = name(&query.k)?;
    let browse = ctx.redis.browse();
    let viewed = match keyspace::view(ctx, &browse, name, &query.from).await {
        Err(domain::Error::Refused { field: "position", why }) => return Err(Error::BadRequest(why)),
        viewed => viewed?,
    };
    let layout = admin.layout(viewed.name.to_string(), Section::Cache).with_parents(parents("Keys", "/cache/keys"));
    Ok(ShowPage { layout, viewed, query, refusal: Refusal::default(), typed: (String::new(), "seconds".into()), cost: browse.cost() })
}

pub async fn show(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    ok(&page(&admin, &ctx, query.read()?).await?)
}

#[derive(Deserialize)]
pub struct ExpiryForm {
    k: String,
    /// Empty: no expiry.
    ttl: String,
    #[serde(default)]
    unit: String,
}

impl ExpiryForm {
    fn ttl(&self) -> std::result::Result<Option<Duration>, Refusal> {
        let refused = |why: &str| Refusal { field: "ttl", why: why.to_owned() };
        let seconds = match self.unit.as_str() {
            "" | "seconds" => 1,
            "minutes" => 60,
            "hours" => 3600,
            "days" => 86_400,
            _ => return Err(refused("Choose a unit from the list.")),
        };
        if self.ttl.trim().is_empty() {
            return Ok(None);
        }
        let number: u64 = self.ttl.trim().parse().map_err(|_| refused("Enter a whole number, or leave the field empty for no expiry."))?;
        Ok(Some(Duration::from_secs(number.saturating_mul(seconds))))
    }
}

pub async fn expire(admin: Admin, ctx: web::Data<Context>, form: Form<ExpiryForm, BULK>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let name = name(&form.k)?;
    let outcome = match form.ttl() {
        Ok(ttl) => match keyspace::set_ttl(&ctx, &admin.actor, &name, ttl).await {
            Ok(()) => Ok(ttl),
            Err(domain::Error::Refused { field, why }) => Err(Refusal { field, why }),
            Err(error) => return Err(error.into()),
        },
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(life) => {
            let message = match life {
                Some(life) => format!("{name} expires in {}.", ttl_text(Ttl::Remaining(life))),
                None => format!("{name} no longer expires."),
            };
            Ok(admin.redirect(&paths::cache_key(name.as_bytes(), &[]), Flash::done(message)))
        }
        Err(refusal) => {
            let again = page(&admin, &ctx, ShowQuery { k: form.k.clone(), ..ShowQuery::default() }).await?;
            unprocessable(&ShowPage { refusal, typed: (form.ttl, form.unit), ..again })
        }
    }
}

#[derive(Deserialize)]
pub struct DeleteForm {
    k: String,
    #[serde(default)]
    confirm: String,
}

#[derive(Template)]
#[template(path = "pages/cache/key_delete.html")]
pub struct ConfirmPage {
    pub layout: Layout,
    pub viewed: Viewed,
}

impl ConfirmPage {
    fn field(&self) -> String {
        paths::bytes_field(self.viewed.name.as_bytes())
    }

    fn back_url(&self) -> String {
        paths::cache_key(self.viewed.name.as_bytes(), &[])
    }
}

pub async fn delete(admin: Admin, ctx: web::Data<Context>, form: Form<DeleteForm, BULK>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let name = name(&form.k)?;
    if form.confirm != "1" {
        let viewed = keyspace::view(&ctx, &ctx.redis.browse(), name, "").await?;
        let layout = admin.layout("Delete key?", Section::Cache).with_parents(parents("Keys", "/cache/keys"));
        return ok(&ConfirmPage { layout, viewed });
    }
    let message = if keyspace::delete(&ctx, &admin.actor, &name).await? {
        Flash::done(format!("{name} deleted."))
    } else {
        Flash::warn(format!("{name} had already been deleted."))
    };
    Ok(admin.redirect("/cache/keys", message))
}
