//! Arguments of example commands.

/// The text as one argument of a POSIX shell (IEEE 1003.1, section 2.2.2).
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::quoted;

    #[test]
    fn a_shell_reads_the_quoted_text_as_it_is() {
        assert_eq!(quoted("s3://bucket/a/b.txt"), "s3://bucket/a/b.txt");
        for text in ["", "a b", "it's", "$(id)", "`id`", "a\nb", "\"x\"", "\\", "~", "é*?", "'; exit 1; '", "&"] {
            let output = Command::new("sh").args(["-c", &format!("printf %s {}", quoted(text))]).output().unwrap();
            assert!(output.status.success() && output.stdout == text.as_bytes(), "{text:?}: {output:?}");
        }
    }
}
