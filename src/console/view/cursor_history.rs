//! Backward pagination of a listing. The cursors of a store only lead forward, so the URL of a page carries the cursors
//! of the previous pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Keeps URLs well under the 8 KiB that proxies accept. Older cursors are dropped; `First` still works.
const MAX_LENGTH: usize = 3000;

/// No listing is longer. A larger offset in a URL is clamped.
const MAX_OFFSET: u64 = 1 << 53;

/// The number of entries before a page, from its URL.
pub fn parse_offset(text: &str) -> Option<u64> {
    text.parse().ok().map(|offset: u64| offset.min(MAX_OFFSET))
}

/// One page: the number of entries before it, and its cursor (empty for the first page).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageCursor {
    pub offset: u64,
    pub cursor: String,
}

/// The previous pages, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorHistory(Vec<PageCursor>);

impl CursorHistory {
    /// Invalid text yields an empty history.
    pub fn parse(text: &str) -> Self {
        let cursor = |part: &str| {
            let (offset, cursor) = part.split_once('.')?;
            let cursor = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            Some(PageCursor { offset: parse_offset(offset)?, cursor })
        };
        let cursors: Option<Vec<PageCursor>> = text.split('~').filter(|part| !part.is_empty()).map(cursor).collect();
        Self(cursors.unwrap_or_default())
    }

    /// The history of the page after `here`.
    pub fn with(&self, here: PageCursor) -> Self {
        let mut cursors = self.0.clone();
        cursors.push(here);
        while cursors.len() > 1 && Self::write(&cursors).len() > MAX_LENGTH {
            cursors.remove(0);
        }
        Self(cursors)
    }

    /// The previous page and its own history.
    pub fn previous(&self) -> Option<(PageCursor, Self)> {
        let (last, rest) = self.0.split_last()?;
        Some((last.clone(), Self(rest.to_vec())))
    }

    fn write(cursors: &[PageCursor]) -> String {
        let cursors: Vec<String> =
            cursors.iter().map(|cursor| format!("{}.{}", cursor.offset, URL_SAFE_NO_PAD.encode(&cursor.cursor))).collect();
        cursors.join("~")
    }
}

impl std::fmt::Display for CursorHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Self::write(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(offset: u64, cursor: &str) -> PageCursor {
        PageCursor { offset, cursor: cursor.to_owned() }
    }

    #[test]
    fn a_history_is_unchanged_by_its_url_form() {
        let third = CursorHistory::default().with(cursor(0, "")).with(cursor(100, "to ken/ü"));
        let read = CursorHistory::parse(&third.to_string());
        assert_eq!(read, third);
        let (second, rest) = read.previous().unwrap();
        assert_eq!(second, cursor(100, "to ken/ü"));
        assert_eq!(rest.previous().unwrap().0, cursor(0, ""));
    }

    #[test]
    fn a_long_history_drops_its_oldest_cursors() {
        let history = (0..200).fold(CursorHistory::default(), |history, at| history.with(cursor(at * 100, &"c".repeat(80))));
        assert!(history.to_string().len() <= MAX_LENGTH);
        assert_eq!(history.previous().unwrap().0.offset, 19_900);
    }

    #[test]
    fn an_invalid_history_is_empty() {
        assert_eq!(CursorHistory::parse("x~y.%"), CursorHistory::default());
        let far = CursorHistory::parse("18446744073709551615.").previous().unwrap().0.offset;
        assert!(far.checked_add(1000).is_some());
    }
}
