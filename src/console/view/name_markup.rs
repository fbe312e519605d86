//! Markup for file names. Control characters, leading and trailing spaces and bidirectional overrides are shown as
//! chips, so that no name can be mistaken for another.

use super::escape::escape;

/// Longer names are truncated in the middle in tables.
const MAX_LENGTH: usize = 34;
/// Characters kept at the end, for the date and the extension.
const TAIL_LENGTH: usize = 12;

enum Piece {
    Text(String),
    Escape(String),
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00a0}' | '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}'
        | '\u{3000}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Joiners are part of emoji and of several scripts. Next to ASCII characters they only disguise a name.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn escape_of(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c if u32::from(c) < 0x100 && c != '\u{00a0}' && c != '\u{00ad}' => format!("\\x{:02x}", u32::from(c)),
        c => format!("\\u{{{:x}}}", u32::from(c)),
    }
}

fn pieces(name: &str) -> Vec<Piece> {
    let start = name.len() - name.trim_start_matches(' ').len();
    let end = name.trim_end_matches(' ').len();
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut before: Option<char> = None;
    for (at, c) in name.char_indices() {
        let after = name[at + c.len_utf8()..].chars().next();
        let joins = is_joiner(c) && [before, after].iter().all(|side| side.is_some_and(|side| !side.is_ascii()));
        let hidden = c.is_control() || (is_invisible(c) && !joins) || (c == ' ' && (at < start || at >= end));
        if hidden {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Escape(escape_of(c)));
        } else {
            text.push(c);
        }
        before = Some(c);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

fn markup(name: &str) -> String {
    let piece = |piece: Piece| match piece {
        Piece::Text(text) => escape(&text),
        Piece::Escape(text) => format!("<span class=\"chip\">{}</span>", escape(&text)),
    };
    pieces(name).into_iter().map(piece).collect()
}

/// Bytes that are mostly text. Invalid UTF-8 is shown as chips.
pub fn bytes_html(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "<i class=\"muted\">(empty)</i>".to_owned();
    }
    let mut html = String::new();
    for chunk in bytes.utf8_chunks() {
        html.push_str(&markup(chunk.valid()));
        for byte in chunk.invalid() {
            html.push_str(&format!("<span class=\"chip\">\\x{byte:02x}</span>"));
        }
    }
    format!("<bdi translate=\"no\">{html}</bdi>")
}

/// Like [`truncated_html`], for bytes.
pub fn bytes_truncated_html(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => truncated_html(name),
        _ => bytes_html(bytes),
    }
}

pub fn html(name: &str) -> String {
    format!("<bdi translate=\"no\">{}</bdi>", markup(name))
}

/// For attributes and titles: no markup, invisible characters escaped.
pub fn plain(name: &str) -> String {
    let piece = |piece: Piece| match piece {
        Piece::Text(text) | Piece::Escape(text) => text,
    };
    pieces(name).into_iter().map(piece).collect()
}

/// Whether the name contains right-to-left text, which truncation would reorder.
fn is_right_to_left(name: &str) -> bool {
    name.chars().any(|c| matches!(c, '\u{0590}'..='\u{08ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}'))
}

pub fn truncated_html(name: &str) -> String {
    let length = name.chars().count();
    if length <= MAX_LENGTH || is_right_to_left(name) || name.trim() != name {
        return format!("<bdi class=\"name\" translate=\"no\">{}</bdi>", markup(name));
    }
    // Do not cut next to a space: it would be shown as a leading or trailing space.
    let beside_space = |at: usize| name[..at].ends_with(char::is_whitespace) || name[at..].starts_with(char::is_whitespace);
    let cut = name.char_indices().map(|(at, _)| at).take(length - TAIL_LENGTH + 1).filter(|at| !beside_space(*at)).last().unwrap_or(0);
    let title = escape(&plain(name));
    let (head, tail) = (markup(&name[..cut]), markup(&name[cut..]));
    format!(
        "<bdi class=\"name name-long\" translate=\"no\" title=\"{title}\"><span class=\"name-head\">{head}</span><span class=\"name-tail\">{tail}</span></bdi>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_shown() {
        for (name, shown) in [
            ("drafts ", r"drafts\x20"),
            (" a b", r"\x20a b"),
            ("minutes\n2026.txt", r"minutes\n2026.txt"),
            ("invoice\u{202e}fdp.exe", r"invoice\u{202e}fdp.exe"),
            ("a\0b\x7f", r"a\x00b\x7f"),
            ("a\u{00a0}b", r"a\u{a0}b"),
            ("a\u{200d}b", r"a\u{200d}b"),
            ("👩\u{200d}🚀.png", "👩\u{200d}🚀.png"),
            ("  ", r"\x20\x20"),
        ] {
            assert_eq!(plain(name), shown);
        }
    }

    #[test]
    fn names_are_escaped_and_isolated() {
        assert_eq!(html("<script>\n"), "<bdi translate=\"no\">&lt;script&gt;<span class=\"chip\">\\n</span></bdi>");
    }

    #[test]
    fn invalid_utf8_is_shown() {
        assert_eq!(
            bytes_html(b"scan\xff<\0"),
            r#"<bdi translate="no">scan<span class="chip">\xff</span>&lt;<span class="chip">\x00</span></bdi>"#
        );
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let html = truncated_html("framework-agreement-2026-v7-final-countersigned-11-03.pdf");
        assert!(html.contains("<span class=\"name-tail\">ed-11-03.pdf</span>"), "{html}");
        // Twelve characters from the end there is a space.
        let html = truncated_html("framework-agreement-2026-v7-countersigned 2026-11-03.md");
        assert!(!html.contains("chip") && html.contains("<span class=\"name-tail\">"), "{html}");
        assert!(!truncated_html(&"عقد".repeat(20)).contains("name-tail"));
    }
}
