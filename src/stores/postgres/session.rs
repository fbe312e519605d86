//! The settings of a session: limits of the server, and the `options` of the URL.

/// What a connection is used for; migrations have no statement timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Queries,
    Migration,
}

/// Known only to Larder; its presence shows that the server received the options.
const MARKER: &str = "larder.options";

/// Those given in the URL take precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    settings: Vec<(String, String)>,
    /// Options of the URL that are not settings, such as `endpoint=…` of Neon.
    others: Vec<String>,
}

impl Session {
    pub fn new(purpose: Purpose, options: Option<&str>) -> Self {
        let limits = match purpose {
            Purpose::Queries => [("statement_timeout", "10s"), ("lock_timeout", "3s"), ("idle_in_transaction_session_timeout", "15s")],
            Purpose::Migration => [("statement_timeout", "0"), ("lock_timeout", "30s"), ("idle_in_transaction_session_timeout", "60s")],
        };
        let mut session = Self { settings: limits.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), others: Vec::new() };
        session.add(options.unwrap_or_default());
        session
    }

    /// Source of the syntax: PostgreSQL documentation, "postgres", options `-c name=value` and `--name=value`.
    fn add(&mut self, options: &str) {
        let mut words = words(options).into_iter();
        while let Some(word) = words.next() {
            let assignment = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
                Some("") => words.next().unwrap_or_default(),
                Some(assignment) => assignment.to_owned(),
                None => {
                    self.others.push(word);
                    continue;
                }
            };
            match assignment.split_once('=') {
                Some((name, value)) => {
                    let name = name.replace('-', "_").to_ascii_lowercase();
                    self.settings.retain(|(known, _)| *known != name);
                    self.settings.push((name, value.to_owned()));
                }
                None => self.others.push(word),
            }
        }
    }

    /// For the start of a connection.
    pub fn options(&self) -> String {
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings = settings.chain([(MARKER, "1")]).map(|(name, value)| format!("-c {name}={}", escaped(value)));
        settings.chain(self.options_without_settings()).collect::<Vec<_>>().join(" ")
    }

    /// Returns no row or an empty value if the options were ignored.
    pub fn marker_query() -> String {
        format!("SELECT current_setting('{MARKER}', true)")
    }

    /// For a pooler that refuses settings at the start of a connection.
    pub fn options_without_settings(&self) -> Option<String> {
        (!self.others.is_empty()).then(|| self.others.iter().map(|other| escaped(other)).collect::<Vec<_>>().join(" "))
    }

    /// Starts a transaction with these settings.
    pub fn begin(&self) -> String {
        let quoted = |text: &str, quote: char| text.replace(quote, &format!("{quote}{quote}"));
        let settings = self.settings.iter().map(|(name, value)| {
            let name = name.split('.').map(|part| format!("\"{}\"", quoted(part, '"'))).collect::<Vec<_>>().join(".");
            // A list, such as a search path, is not one quoted value.
            match value.contains(',') {
                true => format!(
                    "; SET LOCAL {name} = {}",
                    value
                        .split(',')
                        .map(|part| format!("'{}'", quoted(part.trim().trim_matches('"'), '\'')))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                false => format!("; SET LOCAL {name} = '{}'", quoted(value, '\'')),
            }
        });
        std::iter::once("BEGIN".to_owned()).chain(settings).collect()
    }
}

/// Words are separated by spaces; a backslash escapes the next character.
fn words(options: &str) -> Vec<String> {
    let (mut words, mut word, mut characters) = (Vec::new(), String::new(), options.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            space if space.is_whitespace() => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(' ', "\\ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_the_url_override_the_defaults() {
        let session = Session::new(Purpose::Queries, Some("-c statement_timeout=1s --Search-Path=shop,public -cwork_mem=4MB endpoint=one"));
        assert_eq!(
            session.options(),
            "-c lock_timeout=3s -c idle_in_transaction_session_timeout=15s -c statement_timeout=1s -c search_path=shop,public \
             -c work_mem=4MB -c larder.options=1 endpoint=one"
        );
        assert_eq!(session.options_without_settings().as_deref(), Some("endpoint=one"));
        assert_eq!(
            session.begin(),
            "BEGIN; SET LOCAL \"lock_timeout\" = '3s'; SET LOCAL \"idle_in_transaction_session_timeout\" = '15s'; \
             SET LOCAL \"statement_timeout\" = '1s'; SET LOCAL \"search_path\" = 'shop', 'public'; SET LOCAL \"work_mem\" = '4MB'"
        );
    }

    #[test]
    fn values_are_escaped_where_they_are_used() {
        let session = Session::new(Purpose::Migration, Some(r"-c app.note=it\'s\ here"));
        assert!(session.options().contains(r"-c app.note=it's\ here"), "{}", session.options());
        assert!(session.begin().ends_with(r#"SET LOCAL "app"."note" = 'it''s here'"#), "{}", session.begin());
    }
}
