//! Readers for the services that Larder can run without.

use super::read::Reader;

impl Reader<'_> {
    /// The URL of a server that takes a key in a header.
    pub fn keyed_url(&mut self, name: &str, example: &str) -> Option<String> {
        let url = self.http_url(&[name], example)?;
        let authority = url.split('/').nth(2).unwrap_or_default();
        if authority.contains('@') {
            self.error(name, "contains a user name or a password, which is not sent; use the separate variable for the key", example);
        } else if url.contains(['?', '#']) {
            self.error(name, "contains a ? or a #", example);
        }
        Some(url)
    }

    /// A comma-separated list, without duplicates.
    pub fn names(&mut self, name: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for one in self.text(&[name]).unwrap_or_default().split(',').map(str::trim).filter(|one| !one.is_empty()) {
            if !names.iter().any(|known| known == one) {
                names.push(one.to_owned());
            }
        }
        names
    }
}
