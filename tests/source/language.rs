//! Pages, messages, comments and documents use plain English and the standard terms.

use std::path::Path;

use crate::files;

/// Words that have a plain or standard replacement, and the replacement. Compared as whole words, without case.
const WORDS: [(&str, &str); 31] = [
    ("whoever", "the caller, the owner, any admin"),
    ("whomever", "the caller, the owner, any admin"),
    ("somebody", "a user"),
    ("nobody", "no one"),
    ("everybody", "everyone, all users"),
    ("begun", "started"),
    ("mend", "fix, repair"),
    ("mends", "fixes, repairs"),
    ("mended", "fixed, repaired"),
    ("hears", "receives"),
    ("heard", "received"),
    ("untold", "unreported, pending"),
    ("look-up", "lookup"),
    ("look-ups", "lookups"),
    ("time-out", "timeout"),
    ("time-outs", "timeouts"),
    ("set-up link", "setup link"),
    ("throws out", "evicts"),
    ("throw out", "evict"),
    ("goes on", "resumes, continues"),
    ("gone on with", "resumed"),
    ("begins anew", "restarts"),
    ("as it should be", "healthy, valid"),
    ("left to live", "TTL"),
    ("beginnings of", "key prefixes"),
    ("beginning of names", "key prefix"),
    ("stands in", "is stored in"),
    ("stands below", "is below"),
    ("let in", "signed in, admitted"),
    ("already_exists", "already exists"),
    ("walk over", "scan"),
];

/// The sentences of a file: of Rust its comments and strings, of everything else all lines.
fn sentences(path: &Path, line: &str) -> String {
    if path.extension().is_some_and(|extension| extension == "rs") {
        let comment = line.split_once("//").map(|(_, comment)| comment.to_owned()).unwrap_or_default();
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).filter(|text| text.contains(' ')).collect();
        return format!("{comment} {}", strings.join(" "));
    }
    line.to_owned()
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        !before.is_some_and(is_inside) && !after.is_some_and(is_inside)
    })
}

#[test]
fn no_sentence_uses_a_word_that_has_a_plain_replacement() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", ".env.example", "compose.yaml", "Makefile"].map(|name| root.join(name)).to_vec();
    for directory in ["src", "templates", "static", "docs", "deploy"] {
        all.extend(files(&root.join(directory), &["rs", "html", "js", "css", "md", "yaml", "yml", "json", "sql", "conf", "service"]));
    }
    assert!(all.len() > 200);
    let mut found = Vec::new();
    for path in &all {
        for (number, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            let text = sentences(path, line).to_lowercase();
            for (word, instead) in WORDS.iter().filter(|(word, _)| contains_word(&text, word)) {
                let path = path.strip_prefix(root).unwrap().display();
                found.push(format!("{path}:{}: {word:?}, use {instead}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
