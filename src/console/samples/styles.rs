//! Every page links the style sheets whose rules it uses.

use std::collections::HashSet;

use super::all;
use crate::console::view::assets;

/// The class names in the selectors of a style sheet.
fn styled_classes(sheet: &str) -> HashSet<String> {
    let mut classes = HashSet::new();
    let (mut rest, mut depth) = (sheet, 0_usize);
    while let Some(at) = rest.find(['{', '}', ';', '.', '/']) {
        let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match mark {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'/' if after.starts_with('*') => rest = after.split_once("*/").map_or("", |(_, rest)| rest),
            b'.' => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(after.len());
                // A decimal fraction in a declaration is no class.
                if after.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    classes.insert(after[..end].to_owned());
                }
            }
            _ => {}
        }
    }
    assert_eq!(depth, 0, "the style sheet is complete");
    classes
}

#[test]
fn every_page_links_the_styles_of_its_classes() {
    let sheets: Vec<(String, HashSet<String>)> = assets::FILES
        .iter()
        .filter(|(name, _)| name.ends_with(".css"))
        .map(|(name, content)| (assets::url(name), styled_classes(std::str::from_utf8(content).unwrap())))
        .collect();
    assert!(sheets.iter().any(|(_, classes)| classes.contains("button")) && sheets.len() > 3);
    for (name, html) in all() {
        let document = scraper::Html::parse_document(&html);
        let linked: Vec<&str> = document
            .select(&scraper::Selector::parse("link[rel=stylesheet]").unwrap())
            .filter_map(|link| link.value().attr("href"))
            .collect();
        for element in document.select(&scraper::Selector::parse("[class]").unwrap()) {
            for class in element.value().classes() {
                let styled: Vec<&str> = sheets.iter().filter(|(_, classes)| classes.contains(class)).map(|(url, _)| url.as_str()).collect();
                assert!(
                    styled.is_empty() || styled.iter().any(|url| linked.contains(url)),
                    "{name}: .{class} has rules in {styled:?}, but the page links {linked:?}"
                );
            }
        }
    }
}
