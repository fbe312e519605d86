//! The readers for services that Larder can do without.

use super::read::Reader;

impl Reader<'_> {
    /// Of a server that knows us by a key in a header.
    pub fn keyed_url(&mut self, name: &str, example: &str) -> Option<String> {
        let url = self.http_url(&[name], example)?;
        let authority = url.split('/').nth(2).unwrap_or_default();
        if authority.contains('@') {
            self.fault(name, "holds a user name or a password, which is not sent; the key has a variable of its own", example);
        } else if url.contains(['?', '#']) {
            self.fault(name, "holds a ? or a #", example);
        }
        Some(url)
    }

    /// Separated by commas, each once.
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
