//! The paths that a source file names, resolved from the root of the crate.

use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path such as `crate::stores::redis::Cost` or `actix_web::web`, and whether it is re-exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub path: String,
    pub reexported: bool,
}

impl Named {
    /// Whether the path is `prefix` or below it.
    pub fn is_in(&self, prefix: &str) -> bool {
        self.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }
}

/// The module path of a file, such as `crate::stores::redis`.
pub fn module(place: &Path) -> Vec<String> {
    let mut module = vec!["crate".to_owned()];
    module.extend(place.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()));
    if module.len() == 2 && matches!(module[1].as_str(), "lib" | "main") {
        module.pop();
    }
    module
}

/// All paths with at least two segments, in `use` trees, types, expressions and macros alike. Comments and strings are not paths.
pub fn named(module: &[String], text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    walk(&text.parse().unwrap(), &mut module.to_vec(), &mut found);
    found
}

fn walk(tokens: &TokenStream, module: &mut Vec<String>, found: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    let mut public_use = false;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "mod" => {
                // An inline module: `super` inside it is this one.
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(group))) = (tokens.get(at + 1), tokens.get(at + 2)) {
                    module.push(name.to_string());
                    walk(&group.stream(), module, found);
                    module.pop();
                    at += 2;
                }
                at += 1;
            }
            TokenTree::Ident(word) if word == "use" => {
                public_use = at > 0
                    && (matches!(&tokens[at - 1], TokenTree::Ident(before) if before == "pub")
                        || matches!(&tokens[at - 1], TokenTree::Group(before) if before.delimiter() == Delimiter::Parenthesis));
                at += 1;
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => {
                public_use = false;
                at += 1;
            }
            TokenTree::Ident(_) => at = path(&tokens, at, &[], public_use, module, found),
            TokenTree::Group(group) => {
                walk(&group.stream(), module, found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// Reads one path at `at`, below `parent`; returns the index after it.
fn path(
    tokens: &[TokenTree],
    mut at: usize,
    parent: &[String],
    reexported: bool,
    module: &mut Vec<String>,
    found: &mut Vec<Named>,
) -> usize {
    let mut segments = parent.to_vec();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => segments.push(word.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace && !segments.is_empty() => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut next = 0;
                while next < inner.len() {
                    next = match &inner[next] {
                        TokenTree::Ident(_) => path(&inner, next, &segments, reexported, module, found),
                        _ => next + 1,
                    };
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !is_separator(tokens, at) {
            break;
        }
        at += 2;
    }
    if segments.len() > 1 {
        found.push(Named { path: resolve(&segments, module), reexported });
    }
    // What follows `as` is a name, not a path.
    if matches!(tokens.get(at), Some(TokenTree::Ident(word)) if word == "as") && !parent.is_empty() { at + 2 } else { at }
}

fn resolve(segments: &[String], module: &[String]) -> String {
    let supers = segments.iter().take_while(|segment| *segment == "super").count();
    let (mut path, rest) = match segments[0].as_str() {
        "super" => (module[..module.len().saturating_sub(supers).max(1)].to_vec(), &segments[supers..]),
        "self" => (module.to_vec(), &segments[1..]),
        "larder" => (vec!["crate".to_owned()], &segments[1..]),
        _ => (Vec::new(), segments),
    };
    path.extend(rest.iter().filter(|segment| *segment != "self").cloned());
    path.join("::")
}

#[test]
fn paths_are_found_in_all_forms() {
    let module = module(Path::new("console/pages/bucket.rs"));
    assert_eq!(module.join("::"), "crate::console::pages::bucket");
    let text = "
        // crate::stores::comment
        pub(crate) use crate::{domain::{self, Context}, stores as layer_one};
        use super
            ::object;
        mod rows { use super::super::batch::Row; }
        fn f() { let x = \"crate::stores\"; routes! { GET uploads::index; } self::g(); crate::app::start() }
    ";
    let found = named(&module, text);
    let paths: Vec<&str> = found.iter().map(|named| named.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "crate::domain",
            "crate::domain::Context",
            "crate::stores",
            "crate::console::pages::object",
            "crate::console::pages::batch::Row",
            "uploads::index",
            "crate::console::pages::bucket::g",
            "crate::app::start",
        ]
    );
    assert!(found[0].reexported && found[2].reexported && !found[3].reexported);
    assert!(found[2].is_in("crate::stores") && !found[2].is_in("crate::store"));
}
