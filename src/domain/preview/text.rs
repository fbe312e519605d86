//! Previews of text: JSON indented, CSV as a table, anything else as it is.

use super::{CSV_ROWS, Preview};
use crate::utf8::without_split_character;

/// Maximum number of columns, and of characters per cell.
pub(super) const CSV_COLUMNS: usize = 100;
const CSV_CELL: usize = 500;

/// Contains control characters that do not occur in text.
pub(super) fn looks_binary(head: &[u8]) -> bool {
    head.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127))
}

/// The text, up to a character that the limit has split.
pub(super) fn as_text(bytes: &[u8]) -> Option<&str> {
    if looks_binary(bytes) {
        return None;
    }
    std::str::from_utf8(without_split_character(bytes)).ok()
}

pub(super) fn text_preview(bytes: &[u8], cut: bool) -> Preview {
    let Some(text) = as_text(bytes) else {
        return Preview::None("This file is not UTF-8 text and its type has no preview.".into());
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !cut && let Some(text) = json(text) {
        return Preview::Json { text };
    }
    if let Some((head, rows, more)) = as_table(text) {
        return Preview::Csv { head, rows, cut: cut || more };
    }
    Preview::Text { text: text.to_owned(), cut }
}

/// A JSON object or array, indented; `None` for anything else.
pub fn json(text: &str) -> Option<String> {
    let is_json = text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    is_json.then(|| indented(text)).flatten()
}

/// Indents valid JSON without changing any value, since users compare identifiers. `None` if deep nesting would make
/// it too large.
pub(super) fn indented(json: &str) -> Option<String> {
    const LIMIT: usize = 2 << 20;
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut rest = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.next() {
        if out.len() > LIMIT {
            return None;
        }
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                // Empty objects and arrays stay on one line.
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    Some(out)
}

/// A table has at least two lines with the same number of columns, at least two.
pub(super) fn as_table(text: &str) -> Option<(Vec<String>, Vec<Vec<String>>, bool)> {
    let delimiter = [b',', b';', b'\t'].into_iter().find(|delimiter| {
        let mut reader = csv::ReaderBuilder::new().delimiter(*delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
        let widths: Vec<usize> = reader.records().take(8).map_while(std::result::Result::ok).map(|record| record.len()).collect();
        // The last line read may be incomplete.
        let widths = if widths.len() > 2 { &widths[..widths.len() - 1] } else { &widths[..] };
        widths.len() >= 2 && widths[0] >= 2 && widths.iter().all(|width| *width == widths[0])
    })?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut rows: Vec<Vec<String>> = reader
        .records()
        .take(CSV_ROWS + 2)
        .map_while(std::result::Result::ok)
        .map(|record| record.iter().take(CSV_COLUMNS).map(cell).collect())
        .collect();
    let more = rows.len() > CSV_ROWS + 1;
    rows.truncate(CSV_ROWS + 1);
    let head = rows.remove(0);
    Some((head, rows, more))
}

/// The text of a table cell.
pub(super) fn cell(text: &str) -> String {
    match text.char_indices().nth(CSV_CELL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
