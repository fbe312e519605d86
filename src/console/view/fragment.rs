//! A part of a page that is rendered once and shared by many requests.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use askama::Template;

#[derive(Clone)]
pub struct Fragment(Arc<str>);

impl Display for Fragment {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// It was escaped during rendering.
impl askama::filters::HtmlSafe for Fragment {}

impl Fragment {
    pub fn of(template: &impl Template) -> askama::Result<Self> {
        Ok(Self(template.render()?.into()))
    }
}
