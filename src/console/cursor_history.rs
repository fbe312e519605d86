//! The way back through a listing. A store's cursor leads only forwards, so the address of a page carries
//! the cursors of the pages before it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Addresses stay well under the 8 KiB that proxies take; beyond it only `First` leads back.
const MAX_LENGTH: usize = 3000;

/// No listing is longer; what an address says beyond it is made up.
const MAX_OFFSET: u64 = 1 << 53;

/// How many entries come before a page, as its address says.
pub fn parse_offset(text: &str) -> Option<u64> {
    text.parse().ok().map(|offset: u64| offset.min(MAX_OFFSET))
}

/// One page: how many entries come before it, and its cursor (none for the first).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageCursor {
    pub offset: u64,
    pub cursor: String,
}

/// The pages before this one, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorHistory(Vec<PageCursor>);

impl CursorHistory {
    /// What cannot be read is no way back, and no error.
    pub fn parse(text: &str) -> Self {
        let cursor = |part: &str| {
            let (offset, cursor) = part.split_once('.')?;
            let cursor = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            Some(PageCursor { offset: parse_offset(offset)?, cursor })
        };
        let cursors: Option<Vec<PageCursor>> = text.split('~').filter(|part| !part.is_empty()).map(cursor).collect();
        Self(cursors.unwrap_or_default())
    }

    /// The history of the page after the one at `here`.
    pub fn with(&self, here: PageCursor) -> Self {
        let mut cursors = self.0.clone();
        cursors.push(here);
        while cursors.len() > 1 && Self::write(&cursors).len() > MAX_LENGTH {
            cursors.remove(0);
        }
        Self(cursors)
    }

    /// The page before, and its own history.
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
    fn the_way_back_is_the_way_there() {
        let third = CursorHistory::default().with(cursor(0, "")).with(cursor(100, "to ken/ü"));
        let read = CursorHistory::parse(&third.to_string());
        assert_eq!(read, third);
        let (second, rest) = read.previous().unwrap();
        assert_eq!(second, cursor(100, "to ken/ü"));
        assert_eq!(rest.previous().unwrap().0, cursor(0, ""));
    }

    #[test]
    fn a_long_way_forgets_its_beginning() {
        let history = (0..200).fold(CursorHistory::default(), |history, at| history.with(cursor(at * 100, &"c".repeat(80))));
        assert!(history.to_string().len() <= MAX_LENGTH);
        assert_eq!(history.previous().unwrap().0.offset, 19_900);
    }

    #[test]
    fn nonsense_is_no_way_back() {
        assert_eq!(CursorHistory::parse("x~y.%"), CursorHistory::default());
        let far = CursorHistory::parse("18446744073709551615.").previous().unwrap().0.offset;
        assert!(far.checked_add(1000).is_some());
    }
}
