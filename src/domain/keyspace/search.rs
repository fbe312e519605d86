//! Searches keys by name or pattern: one page per request, with a limit on time and keys, and a cursor to continue.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::name::{Name, is_own};
use super::pattern::{literal_names, typed};
use crate::domain::{Context, Error, Result};
use crate::stores::redis::{self, BrowseCommands, Described};

/// A page ends at whichever of these limits is reached first; it may contain a few more rows.
const MAX_EXAMINED: u64 = 20_000;
const TIME_LIMIT: Duration = Duration::from_millis(250);
const ROWS: usize = 100;
/// Keys examined per SCAN call: more would make single calls slow, fewer would need more calls.
const BATCH: usize = 500;
/// Shows how many keys match: if most do, the first call already fills the page.
const FIRST_BATCH: usize = 100;
/// The types of a server without modules.
pub const KINDS: [&str; 6] = ["string", "hash", "list", "set", "zset", "stream"];

#[derive(Clone, Debug, Default)]
pub struct Search {
    /// `*`, `?`, `[…]` and `\` as in Redis; empty for all keys.
    pub pattern: Vec<u8>,
    /// One of [`KINDS`], or any.
    pub kind: Option<String>,
    /// Where the previous page ended; 0 at the start.
    pub cursor: u64,
}

#[derive(Debug)]
pub struct Row {
    pub name: Name,
    pub described: Described,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Keys examined for this page.
    pub examined: u64,
    pub calls: u32,
    pub time: Duration,
}

pub struct SearchPage {
    /// Keys whose names are the pattern itself, with its wildcards as ordinary characters; on the first page only.
    pub literal: Vec<Row>,
    /// Other keys that match the pattern.
    pub rows: Vec<Row>,
    pub progress: Progress,
    /// Keys in the database.
    pub total: u64,
    /// `None`: the search is complete.
    pub next: Option<u64>,
    /// The pattern contains no wildcards, and only the literal names were examined.
    pub exact: bool,
}

impl Search {
    /// Refused for an unknown type.
    pub fn new(pattern: &str, kind: &str, cursor: u64) -> Result<Self> {
        let kind = Some(kind).filter(|kind| !kind.is_empty()).map(str::to_owned);
        if kind.as_deref().is_some_and(|kind| !KINDS.contains(&kind)) {
            return Err(Error::refused("type", "Choose one of the types in the list."));
        }
        Ok(Self { pattern: typed(pattern), kind, cursor })
    }
}

/// Takes at most about 250 ms, or examines 20,000 keys.
pub async fn search(ctx: &Context, browse: &BrowseCommands<'_>, search: &Search) -> Result<SearchPage> {
    let total = browse.count_keys().await?;
    let literal_names = if search.pattern.is_empty() { BTreeSet::new() } else { literal_names(ctx, &search.pattern) };
    if redis::without_wildcards(&search.pattern).is_some_and(|name| !name.is_empty()) {
        // Refused if the name is too long.
        Name::parse(redis::unescaped(&search.pattern))?;
        return exact(browse, literal_names, search.kind.as_deref(), total).await;
    }
    let literal = if search.cursor == 0 { literal_names.iter().cloned().collect() } else { Vec::new() };
    let literal = of_kind(describe(browse, literal).await?, search.kind.as_deref());
    let began = Instant::now();
    let (mut progress, mut cursor) = (Progress::default(), search.cursor);
    let mut names = BTreeSet::new();
    let pattern = (!search.pattern.is_empty() && search.pattern != b"*").then_some(search.pattern.as_slice());
    loop {
        let step = next_step(&progress, names.len());
        let (next, mut found) = browse.scan(cursor, pattern, step).await?;
        progress.calls += 1;
        let returned = found.len() as u64;
        // Hidden keys are not even counted: patterns refined letter by letter would otherwise reveal them.
        found.retain(|name| !is_own(&ctx.redis, name));
        progress.examined += if pattern.is_none() { returned } else { (step as u64).max(found.len() as u64) };
        names.extend(matching_kind(browse, found, search.kind.as_deref()).await?.into_iter().map(Name::found));
        cursor = next;
        if cursor == 0 || names.len() >= ROWS || progress.examined >= MAX_EXAMINED || began.elapsed() >= TIME_LIMIT {
            break;
        }
    }
    names.retain(|name| !literal_names.contains(name));
    progress.time = began.elapsed();
    progress.examined = progress.examined.min(total);
    let rows = describe(browse, names.into_iter().collect()).await?;
    Ok(SearchPage { literal, rows, progress, total, next: (cursor != 0).then_some(cursor), exact: false })
}

/// The number of keys to examine next, so that the page is filled but hardly more. The share of matching keys is taken from
/// those examined so far, plus three standard deviations. Redis examines a few more than requested.
fn next_step(progress: &Progress, found: usize) -> usize {
    if progress.examined == 0 {
        return FIRST_BATCH;
    }
    let (missing, found) = (ROWS.saturating_sub(found) as f64, found as f64);
    let share = (found + 3.0 * (found + 1.0).sqrt() + 2.0) / progress.examined as f64;
    ((missing / share).ceil() as usize).clamp(1, BATCH)
}

async fn matching_kind(browse: &BrowseCommands<'_>, names: Vec<Vec<u8>>, kind: Option<&str>) -> Result<Vec<Vec<u8>>> {
    if kind.is_none() {
        return Ok(names);
    }
    let kinds = browse.kinds(&names).await?;
    Ok(names.into_iter().zip(kinds).filter(|(_, found)| found.as_deref() == kind).map(|(name, _)| name).collect())
}

/// Omits keys that expired since they were found.
async fn describe(browse: &BrowseCommands<'_>, names: Vec<Name>) -> Result<Vec<Row>> {
    let keys: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut described = Vec::with_capacity(keys.len());
    for some in keys.chunks(ROWS) {
        described.extend(browse.describe(some).await?);
    }
    let rows = names.into_iter().zip(described).map(|(name, described)| Row { name, described });
    Ok(rows.filter(|row| row.described.kind.is_some()).collect())
}

fn of_kind(mut rows: Vec<Row>, kind: Option<&str>) -> Vec<Row> {
    rows.retain(|row| kind.is_none() || row.described.kind.as_deref() == kind);
    rows
}

async fn exact(browse: &BrowseCommands<'_>, names: BTreeSet<Name>, kind: Option<&str>, total: u64) -> Result<SearchPage> {
    let began = Instant::now();
    let literal = of_kind(describe(browse, names.into_iter().collect()).await?, kind);
    let progress = Progress { examined: 1, calls: 1, time: began.elapsed() };
    Ok(SearchPage { literal, rows: Vec::new(), progress, total, next: None, exact: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_examines_as_many_keys_as_fill_the_page() {
        let progress = |examined| Progress { examined, ..Progress::default() };
        assert_eq!(next_step(&progress(0), 0), 100);
        assert_eq!(next_step(&progress(100), 0), 500);
        assert_eq!(next_step(&progress(103), 97), 3);
        assert_eq!(next_step(&progress(200), 50), 137);
        assert_eq!(next_step(&progress(19_000), 1), 500);
    }
}
