//! Searches keys by name or pattern: one page per request, with a limit on time and keys, and a cursor to continue.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::name::{Name, is_own};
use crate::domain::{Context, Error, Result};
use crate::stores::redis::{self, BrowseCommands, Described};

/// A page ends at whichever of these limits is reached first.
const MAX_EXAMINED: u64 = 20_000;
const TIME_LIMIT: Duration = Duration::from_millis(250);
const ROWS: usize = 100;
/// Keys examined per SCAN call: more would make single calls slow, fewer would need more calls.
const BATCH: usize = 500;
/// If most keys match, the first call already fills the page.
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
    pub rows: Vec<Row>,
    pub progress: Progress,
    /// Keys in the database.
    pub total: u64,
    /// `None`: the search is complete.
    pub next: Option<u64>,
    /// A single name was requested, and only that key was examined.
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

/// Parses user input, in which `\xff` stands for a byte that cannot be typed.
pub fn typed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = rest.strip_prefix(br"\x").and_then(|hex| {
            let digits = std::str::from_utf8(hex.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match escaped {
            Some(escaped) => {
                if b"*?[]\\".contains(&escaped) {
                    bytes.push(b'\\');
                }
                bytes.push(escaped);
                rest = &rest[4..];
            }
            None if rest.starts_with(br"\\") => {
                bytes.extend_from_slice(br"\\");
                rest = &rest[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

/// The inverse of [`typed`]. Escapes control characters and leading or trailing blanks, which forms do not preserve.
pub(super) fn as_typed(pattern: &[u8]) -> String {
    let blanks = |bytes: &mut dyn Iterator<Item = &u8>| bytes.take_while(|byte| **byte == b' ').count();
    let (start, end) = (blanks(&mut pattern.iter()), pattern.len() - blanks(&mut pattern.iter().rev()));
    let mut text = String::with_capacity(pattern.len());
    let mut at = 0;
    for chunk in pattern.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || (c.is_whitespace() && (c != ' ' || at < start || at >= end)) {
                text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(escaped));
            } else {
                text.push(c);
            }
            at += c.len_utf8();
        }
        text.extend(chunk.invalid().iter().copied().map(escaped));
        at += chunk.invalid().len();
    }
    text
}

fn escaped(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

/// Takes at most 250 ms, or examines 20,000 keys.
pub async fn search(ctx: &Context, browse: &BrowseCommands<'_>, search: &Search) -> Result<SearchPage> {
    let total = browse.count_keys().await?;
    if let Some(name) = redis::without_wildcards(&search.pattern).filter(|name| !name.is_empty()) {
        return exact(ctx, browse, name, search.kind.as_deref(), total).await;
    }
    let began = Instant::now();
    let (mut progress, mut cursor) = (Progress::default(), search.cursor);
    let mut names = BTreeSet::new();
    let pattern = (!search.pattern.is_empty() && search.pattern != b"*").then_some(search.pattern.as_slice());
    loop {
        let step = if progress.calls == 0 && pattern.is_none() { FIRST_BATCH } else { BATCH };
        let (next, found) = browse.scan(cursor, pattern, search.kind.as_deref(), step).await?;
        progress.calls += 1;
        progress.examined += step as u64;
        // Hidden keys are not even counted: patterns refined letter by letter would otherwise reveal them.
        names.extend(found.into_iter().filter(|name| !is_own(&ctx.redis, name)).map(Name::found));
        cursor = next;
        if cursor == 0 || names.len() >= ROWS || progress.examined >= MAX_EXAMINED || began.elapsed() >= TIME_LIMIT {
            break;
        }
    }
    progress.time = began.elapsed();
    progress.examined = progress.examined.min(total);
    let rows = describe(browse, names.into_iter().collect()).await?;
    Ok(SearchPage { rows, progress, total, next: (cursor != 0).then_some(cursor), exact: false })
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

async fn exact(ctx: &Context, browse: &BrowseCommands<'_>, name: Vec<u8>, kind: Option<&str>, total: u64) -> Result<SearchPage> {
    let name = Name::parse(name)?;
    let (began, own) = (Instant::now(), is_own(&ctx.redis, name.as_bytes()));
    let mut rows = if own { Vec::new() } else { describe(browse, vec![name]).await? };
    rows.retain(|row| kind.is_none() || row.described.kind.as_deref() == kind);
    let progress = Progress { examined: 1, calls: 1, time: began.elapsed() };
    Ok(SearchPage { rows, progress, total, next: None, exact: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untypable_bytes_are_entered_as_escapes() {
        assert_eq!(typed(r"scan\xff*"), b"scan\xff*");
        assert_eq!(typed(r"a\x2ab"), br"a\*b", "an escaped star is not a wildcard");
        assert_eq!(typed(r"a\*b\\c\xzz"), br"a\*b\\c\xzz");
        assert_eq!(typed("grün"), "grün".as_bytes());
    }

    #[test]
    fn a_pattern_is_displayed_as_it_was_typed() {
        for pattern in [r"scan\xff*", r"a\*b\\c", "grün?"] {
            assert_eq!(as_typed(&typed(pattern)), pattern);
        }
    }

    #[test]
    fn a_pattern_survives_a_form_unchanged() {
        for pattern in [&b"a\nb\r\n\0*"[..], b" a b* ", b"  ", "\u{a0}a\u{3000}*\u{2003}".as_bytes(), b"\xff\t*", br"a\*b\\x41"] {
            let text = as_typed(pattern);
            assert_eq!(typed(text.trim()), pattern, "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_displayed_name_finds_its_key() {
        for name in [&b"scan\xff\xfe"[..], br"back\slash", b"plain"] {
            let shown = Name::found(name.to_vec()).to_string();
            assert_eq!(redis::without_wildcards(&typed(&shown)).as_deref(), Some(name));
        }
    }
}
