//! `/cache…`: what Redis does, and what is in it.

pub mod download;
pub mod key;
pub mod keys;
pub mod metrics;
pub mod namespaces;
pub mod scans;
pub mod server;
mod tiles;
mod value;

use crate::console::layout::{Layout, Section};
use crate::console::session::SignedIn;
use crate::console::units;
use crate::stores::redis::Cost;

/// The pages of the cache, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Metrics,
    Namespaces,
    Keys,
    Slow,
    Biggest,
    Clients,
    Settings,
}

impl Tab {
    /// Those that a role may open: names and values are for admins.
    const ALL: [(Self, &'static str, &'static str, bool); 7] = [
        (Self::Metrics, "Figures", "/cache", false),
        (Self::Namespaces, "Namespaces", "/cache/namespaces", false),
        (Self::Keys, "Keys", "/cache/keys", true),
        (Self::Slow, "Slow log", "/cache/slowlog", true),
        (Self::Biggest, "Biggest keys", "/cache/biggest", true),
        (Self::Clients, "Clients", "/cache/clients", true),
        (Self::Settings, "Configuration", "/cache/settings", true),
    ];
}

/// The line of tabs, with one of them open.
pub struct Tabs {
    open: Option<Tab>,
    admin: bool,
}

impl Tabs {
    pub fn of(layout: &Layout, open: Option<Tab>) -> Self {
        Self { open, admin: layout.is_admin() }
    }

    /// Word, address, and whether it is this page.
    pub fn list(&self) -> Vec<(&'static str, &'static str, bool)> {
        let may = |needs_admin: bool| self.admin || !needs_admin;
        Tab::ALL.iter().filter(|tab| may(tab.3)).map(|(tab, word, url, _)| (*word, *url, self.open == Some(*tab))).collect()
    }
}

/// The page behind a tab, which has its title.
fn tab_layout(person: &SignedIn, tab: Tab) -> (Layout, Tabs) {
    let title = Tab::ALL.iter().find(|(known, ..)| *known == tab).map_or("", |(_, word, ..)| word);
    let layout = person.layout(title, Section::Cache).with_parents([crumb()]);
    let tabs = Tabs::of(&layout, Some(tab));
    (layout, tabs)
}

fn crumb() -> (String, String) {
    ("Cache".to_owned(), "/cache".to_owned())
}

/// The pages above those below a tab.
fn parents(tab: &str, url: &str) -> [(String, String); 2] {
    [crumb(), (tab.to_owned(), url.to_owned())]
}

/// "6 commands, answered in 1.4 ms".
fn cost_text(cost: Cost) -> String {
    let word = if cost.commands == 1 { "command" } else { "commands" };
    format!(
        "{} {word}, answered in {:.1}{}ms",
        units::count_text(cost.commands as u64),
        cost.time.as_secs_f64() * 1000.0,
        units::THIN_SPACE
    )
}
