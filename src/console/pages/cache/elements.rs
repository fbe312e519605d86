//! The table of a collection's elements.

use super::keys::ttl_text;
use super::value::Cell;
use crate::console::view::paths;
use crate::domain::keyspace::{Elements, Pairs, Ttl, Viewed};

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

/// `None` for strings and for values that are not shown.
pub(super) fn listed(viewed: &Viewed, from: &str) -> Option<Listed> {
    let name = viewed.name.as_bytes();
    let row = |cells: Vec<&[u8]>| Listing { cells: cells.into_iter().map(Cell::of).collect(), download: None };
    let (head, rows) = match &viewed.page.elements {
        Elements::Hash(fields) => {
            let whole = |field: &[u8]| paths::cache_field_download(name, field);
            let row = |(field, value): &(Vec<u8>, Vec<u8>)| Listing { download: Some(whole(field)), ..row(vec![field, value]) };
            let mut rows: Vec<Listing> = fields.iter().map(row).collect();
            match viewed.page.field_ttls.as_deref().filter(|ttls| ttls.iter().any(|ttl| matches!(ttl, Ttl::Remaining(_)))) {
                Some(ttls) => {
                    for (row, ttl) in rows.iter_mut().zip(ttls) {
                        row.cells.push(Cell::of(ttl_text(*ttl).as_bytes()));
                    }
                    (vec!["Field", "Value", "TTL"], rows)
                }
                None => (vec!["Field", "Value"], rows),
            }
        }
        Elements::List(values) => {
            let start: u64 = from.parse().unwrap_or(0);
            let row = |(at, value): (usize, &Vec<u8>)| {
                let index = start + at as u64;
                let download = Some(paths::cache_index_download(name, index));
                Listing { download, ..row(vec![index.to_string().as_bytes(), value]) }
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
        Elements::Facts(_, facts) => {
            (vec!["Property", "Value"], facts.iter().map(|(name, value)| row(vec![name.as_bytes(), value.as_bytes()])).collect())
        }
        Elements::Bytes(_) | Elements::Document(_) | Elements::TooLarge(_) | Elements::Unknown => return None,
    };
    Some(Listed { head, rows })
}
