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
            let first = statement.lines().next().unwrap_or_default().trim();
            // Either the whole line, or what follows its equals sign.
            let number = text.lines().position(|line| !first.is_empty() && line.trim().ends_with(first)).map(|at| at + 1);
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
