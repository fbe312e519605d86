//! A response, and queries on it by CSS selector.

use reqwest::header::HeaderMap;
use scraper::{ElementRef, Html, Selector};

#[derive(Clone)]
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub path: String,
    pub body: Vec<u8>,
}

impl Page {
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.path, self.text().chars().take(2_000).collect::<String>());
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: not JSON ({error}): {}", self.path, self.text()))
    }

    /// One header, if present.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The target of a redirect.
    #[track_caller]
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("{}: {} without a location", self.path, self.status))
    }

    /// The texts of all matching elements, with normalized white space.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        self.each(selector, |element| squeeze(&element.text().collect::<String>()))
    }

    /// The text of the single matching element.
    #[track_caller]
    pub fn text_of(&self, selector: &str) -> String {
        self.only(selector, self.texts(selector))
    }

    /// One attribute of all matching elements that have it.
    pub fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        self.each(selector, |element| element.value().attr(name).map(str::to_owned)).into_iter().flatten().collect()
    }

    /// One attribute of the single matching element.
    #[track_caller]
    pub fn attribute(&self, selector: &str, name: &str) -> String {
        self.only(selector, self.attributes(selector, name))
    }

    pub fn has(&self, selector: &str) -> bool {
        self.count(selector) > 0
    }

    pub fn count(&self, selector: &str) -> usize {
        self.each(selector, |_| ()).len()
    }

    fn each<T>(&self, selector: &str, what: impl Fn(ElementRef<'_>) -> T) -> Vec<T> {
        let selector = Selector::parse(selector).unwrap();
        Html::parse_document(&self.text()).select(&selector).map(what).collect()
    }

    #[track_caller]
    fn only(&self, selector: &str, mut found: Vec<String>) -> String {
        assert_eq!(found.len(), 1, "{}: {selector} matches {found:?} in {}", self.path, self.text());
        found.remove(0)
    }
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
