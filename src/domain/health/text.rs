//! Sanitizes names and versions reported by servers, which may have any length and contain any characters.

/// At max `max` characters, without characters that affect the layout of surrounding text.
pub(super) fn cleaned(text: &str, max: usize) -> String {
    let is_layout_control =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let mut kept: String = text.chars().filter(|c| !is_layout_control(*c)).take(max + 1).collect();
    if kept.chars().count() > max {
        kept.pop();
        kept.pop();
        kept.push('…');
    }
    kept
}

/// The number of names, and the first few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub count: usize,
    pub first: Vec<String>,
}

impl Names {
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a String>) -> Self {
        let mut kept = Self::default();
        for name in names {
            kept.count += 1;
            if kept.first.len() < NAMES {
                kept.first.push(cleaned(name, LENGTH));
            }
        }
        kept
    }

    /// "a, b and 188 more".
    pub fn listed(&self) -> String {
        let (shown, more) = (self.first.join(", "), self.count - self.first.len());
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    }
}

const NAMES: usize = 12;
const LENGTH: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_servers_is_sanitized_and_shortened() {
        assert_eq!(cleaned("1.2\r\rretry: 1\u{202e}\u{1b}[2J", 40), "1.2retry: 1[2J");
        assert_eq!(cleaned("abcdef", 6), "abcdef");
        assert_eq!(cleaned("abcdefg", 6), "abcde…");
        let names: Vec<String> = (0..200).map(|at| at.to_string()).collect();
        assert_eq!(Names::of(&names).listed(), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 188 more");
    }
}
