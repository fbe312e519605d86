//! Reads `.env` into the process environment. Errors name the line, never its content, which may be a secret.

use std::path::Path;

/// Loads the file if it exists. Variables that are already set keep their values. Call it before any thread is started.
///
/// # Errors
/// A sentence for the operator, without any value of the file.
pub fn load(path: &Path) -> Result<(), String> {
    if !path.is_file() {
        return Ok(());
    }
    dotenvy::from_path(path).map_err(|error| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        format!("{}: {}", path.display(), description(&error, &text))
    })
}

fn description(error: &dotenvy::Error, text: &str) -> String {
    match error {
        dotenvy::Error::LineParse(statement, _) => {
            let number = line_of(statement, text);
            let place = number.map_or_else(|| "a line".to_owned(), |number| format!("line {number}"));
            format!(
                "{place} is not NAME=value. Put a value that contains spaces or special characters between single quotes: \
                 NAME='first second'. A quote must be closed on the same line."
            )
        }
        dotenvy::Error::Io(error) => format!("the file cannot be read ({error})"),
        _ => "the file cannot be read".to_owned(),
    }
}

/// The number of the line at which the statement with this error starts: the error occurs as soon as the statement is complete.
fn line_of(statement: &str, text: &str) -> Option<usize> {
    let text = text.trim_start_matches('\u{feff}');
    let mut end = 0;
    let last = text.split_inclusive('\n').position(|line| {
        end += line.len();
        let error = dotenvy::from_read_iter(&text.as_bytes()[..end]).find_map(Result::err);
        matches!(error, Some(dotenvy::Error::LineParse(found, _)) if found.trim_end() == statement.trim_end())
    })?;
    Some(last + 2 - statement.lines().count().clamp(1, last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported about a file with this content. Nothing is set in the environment.
    fn reported(text: &str) -> Option<String> {
        let error = dotenvy::from_read_iter(text.as_bytes()).find_map(Result::err)?;
        Some(description(&error, text))
    }

    #[test]
    fn an_error_names_the_line_and_no_value() {
        for (text, line) in [
            ("A=1\n# comment\n\nSECRET=hunter2 horse\nB=2\n", "line 4"),
            ("SECRET=hunter2 horse battery", "line 1"),
            ("A=1\r\n  SECRET=hunter2 horse\r\n", "line 2"),
            ("A=1\nhunter2\n", "line 2"),
            ("A='x'\nSECRET='hunter2\n", "line 2"),
            ("A='x'\nSECRET='hunter2\nB=1\n", "line 2"),
            ("A='1\n2'\n# hunter2 horse\nSECRET=hunter2 horse\n", "line 4"),
        ] {
            let reported = reported(text).unwrap_or_else(|| panic!("no error: {text}"));
            assert!(reported.starts_with(line), "{text}: {reported}");
            for secret in ["hunter2", "horse", "SECRET"] {
                assert!(!reported.contains(secret), "{text}: {reported}");
            }
        }
        assert_eq!(reported("A='hunter2 horse'\nB=\"a b\" # comment\n"), None);
    }

    #[test]
    fn a_missing_file_is_not_an_error() {
        assert_eq!(load(Path::new("no-such-directory/.env")), Ok(()));
    }
}
