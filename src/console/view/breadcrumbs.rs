//! The breadcrumb: links to the parent pages of a page.

use super::paths;
use crate::domain::names::BucketName;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crumb {
    pub text: String,
    /// None for the page itself.
    pub url: Option<String>,
}

impl Crumb {
    pub fn link(text: impl Into<String>, url: impl Into<String>) -> Self {
        Self { text: text.into(), url: Some(url.into()) }
    }

    /// The page itself.
    pub fn here(text: impl Into<String>) -> Self {
        Self { text: text.into(), url: None }
    }
}

/// The list of buckets, and the bucket.
pub fn bucket(bucket: &BucketName) -> [Crumb; 2] {
    [Crumb::link("Buckets", "/buckets"), Crumb::link(bucket.to_string(), paths::bucket(bucket))]
}

/// The title of a folder's page, and its parent pages.
pub fn folder(bucket: &BucketName, prefix: &str) -> (String, Vec<Crumb>) {
    let mut parents = vec![Crumb::link("Buckets", "/buckets")];
    let mut title = bucket.to_string();
    let mut url = paths::bucket(bucket);
    let mut end = 0;
    for part in prefix.split_inclusive('/') {
        end += part.len();
        parents.push(Crumb::link(title, url));
        title = part.strip_suffix('/').unwrap_or(part).to_owned();
        if title.is_empty() {
            title = "/".to_owned();
        }
        url = paths::folder(bucket, &prefix[..end]);
    }
    (title, parents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parent_folder_is_linked() {
        let bucket = BucketName::parse("scans").unwrap();
        let (title, parents) = folder(&bucket, "a b//c/");
        assert_eq!(title, "c");
        let urls: Vec<&str> = parents.iter().filter_map(|crumb| crumb.url.as_deref()).collect();
        assert_eq!(urls, ["/buckets", "/buckets/scans", "/buckets/scans?prefix=a%20b%2F", "/buckets/scans?prefix=a%20b%2F%2F"]);
    }
}
