//! `/cache…`: metrics and contents of Redis.

pub mod clients;
pub mod download;
mod elements;
pub mod key;
pub mod key_deletion;
pub mod key_expiry;
pub mod keys;
pub mod metrics;
pub mod namespaces;
pub mod scans;
pub mod settings;
pub mod slowlog;
mod tiles;
mod value;

use crate::console::http::session::SignedIn;
use crate::console::view::breadcrumbs::Crumb;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::units;
use crate::domain::keyspace::Cost;

/// The tabs of the cache pages.
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
    /// Tab, label, URL and whether it is for admins only, because it shows key names or values.
    const ALL: [(Self, &'static str, &'static str, bool); 7] = [
        (Self::Metrics, "Metrics", "/cache", false),
        (Self::Namespaces, "Namespaces", "/cache/namespaces", false),
        (Self::Keys, "Keys", "/cache/keys", true),
        (Self::Slow, "Slow log", "/cache/slowlog", true),
        (Self::Biggest, "Biggest keys", "/cache/biggest", true),
        (Self::Clients, "Clients", "/cache/clients", true),
        (Self::Settings, "Configuration", "/cache/settings", true),
    ];
}

/// The tab bar, with the selected tab.
pub struct Tabs {
    open: Option<Tab>,
    admin: bool,
}

impl Tabs {
    pub fn of(layout: &Layout, open: Option<Tab>) -> Self {
        Self { open, admin: layout.is_admin() }
    }

    /// Label, URL, and whether the tab is selected.
    pub fn list(&self) -> Vec<(&'static str, &'static str, bool)> {
        let may = |needs_admin: bool| self.admin || !needs_admin;
        Tab::ALL.iter().filter(|tab| may(tab.3)).map(|(tab, label, url, _)| (*label, *url, self.open == Some(*tab))).collect()
    }
}

/// The layout and the tab bar of the page behind a tab.
fn tab_layout(person: &SignedIn, tab: Tab) -> (Layout, Tabs) {
    let title = Tab::ALL.iter().find(|(known, ..)| *known == tab).map_or("", |(_, label, ..)| label);
    let layout = person.layout(title, Section::Cache).with_parents([crumb()]);
    let tabs = Tabs::of(&layout, Some(tab));
    (layout, tabs)
}

fn crumb() -> Crumb {
    Crumb::link("Cache", "/cache")
}

/// The parent pages of a page below a tab.
fn parents(tab: &str, url: &str) -> [Crumb; 2] {
    [crumb(), Crumb::link(tab, url)]
}

/// "6 commands in 1.4 ms".
fn cost_text(cost: Cost) -> String {
    let noun = if cost.commands == 1 { "command" } else { "commands" };
    format!("{} {noun} in {:.1}{}ms", units::count_text(cost.commands as u64), cost.time.as_secs_f64() * 1000.0, units::THIN_SPACE)
}

/// For Unix sockets, Redis reports a truncated path that is the same for all clients.
fn address(result: &str) -> &str {
    if result.starts_with('/') { "Unix socket" } else { result }
}
