//! The frame around every page.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use chrono::{DateTime, Utc};

use super::breadcrumbs::Crumb;
use super::flash::{Flash, flash_name};
use super::theme::Theme;
use crate::config::{Config, Environment};
use crate::domain::health::{Board, Service};
use crate::domain::sessions::Session;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Overview,
    Buckets,
    Uploads,
    Cache,
    Health,
    Users,
    Audit,
    None,
}

#[derive(Clone, Debug)]
pub struct Person {
    pub name: String,
    pub email: String,
    pub initials: String,
    pub role: &'static str,
    pub is_admin: bool,
    pub is_editor: bool,
}

impl Person {
    pub fn of(session: &Session) -> Self {
        use crate::domain::actor::Role;
        Self {
            name: session.name.clone(),
            email: session.email.clone(),
            initials: initials(&session.name),
            role: match session.role {
                Role::Viewer => "Viewer",
                Role::Editor => "Editor",
                Role::Admin => "Admin",
            },
            is_admin: session.role == Role::Admin,
            is_editor: session.role >= Role::Editor,
        }
    }
}

fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().find(|c| c.is_alphanumeric()));
    let first = words.next();
    [first, words.next_back()].into_iter().flatten().flat_map(char::to_uppercase).collect()
}

/// A service that is down, with the time it went down.
pub type DownService = (Service, Option<DateTime<Utc>>);

/// What the frame shows about the request and the installation.
#[derive(Clone, Debug)]
pub struct Frame {
    pub theme: Theme,
    pub flash: Option<Flash>,
    /// Path and query that the theme form returns to.
    pub current_url: String,
    pub down: Vec<DownService>,
    /// With what they cannot do.
    pub limited: Vec<(Service, &'static str)>,
    pub host: String,
    pub environment: &'static str,
    pub https: bool,
    pub flash_name: String,
}

impl Frame {
    /// The cookie that shows this message on the next page.
    pub fn flash_cookie(&self, flash: &Flash) -> Cookie<'static> {
        flash.cookie(self.flash_name.clone(), self.https)
    }

    pub fn of(req: &HttpRequest, config: &Config, health: &Board) -> Self {
        let host = match config.public_url.as_deref() {
            Some(url) => url.split_once("://").map_or(url, |(_, host)| host).to_owned(),
            None => config.bind.to_string(),
        };
        let current_url = if req.method().is_safe() { req.uri().path_and_query().map_or("/", |path| path.as_str()) } else { "/" };
        Self {
            theme: Theme::of(req),
            flash: Flash::of(req, config),
            current_url: current_url.to_owned(),
            down: health.down(),
            limited: health.limited(),
            host,
            environment: match config.environment {
                Environment::Development => "Development",
                Environment::Production => "Production",
            },
            https: config.is_https(),
            flash_name: flash_name(config),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Layout {
    pub title: String,
    pub section: Section,
    pub crumbs: Vec<Crumb>,
    pub person: Option<Person>,
    pub frame: Frame,
}

impl Layout {
    pub fn new(title: impl Into<String>, section: Section, person: Option<Person>, frame: Frame) -> Self {
        let title = title.into();
        let crumbs = vec![Crumb::here(title.clone())];
        Self { title, section, crumbs, person, frame }
    }

    /// Adds the parent pages to the breadcrumb.
    pub fn with_parents(mut self, parents: impl IntoIterator<Item = Crumb>) -> Self {
        let own = self.crumbs.pop();
        self.crumbs.extend(parents);
        self.crumbs.extend(own);
        self
    }

    /// The parent page, for the link that replaces the breadcrumb on phones.
    pub fn parent(&self) -> Option<(&str, &str)> {
        self.crumbs.iter().rev().find_map(|crumb| crumb.url.as_deref().map(|url| (crumb.text.as_str(), url)))
    }

    pub fn is_section(&self, section: &str) -> bool {
        let own = match self.section {
            Section::Overview => "overview",
            Section::Buckets => "buckets",
            Section::Uploads => "uploads",
            Section::Cache => "cache",
            Section::Health => "health",
            Section::Users => "users",
            Section::Audit => "audit",
            Section::None => "",
        };
        own == section
    }

    pub fn is_editor(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.is_editor)
    }

    pub fn is_admin(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.is_admin)
    }

    /// The unavailable services that the pages of this section need.
    pub fn unavailable_services(&self) -> impl Iterator<Item = &DownService> {
        self.frame.down.iter().filter(|(service, _)| self.needed_services().contains(service))
    }

    /// The services that the pages of this section need and that cannot do everything.
    pub fn limited_services(&self) -> impl Iterator<Item = &(Service, &'static str)> {
        self.frame.limited.iter().filter(|(service, _)| self.needed_services().contains(service))
    }

    fn needed_services(&self) -> &'static [Service] {
        match self.section {
            Section::Buckets | Section::Uploads => &[Service::S3, Service::Postgres],
            Section::Cache => &[Service::Redis],
            Section::Users | Section::Audit => &[Service::Postgres],
            Section::Overview | Section::Health | Section::None => &[],
        }
    }

    pub fn themes(&self) -> [Theme; 3] {
        Theme::ALL
    }

    pub fn data_theme(&self) -> Option<&'static str> {
        self.frame.theme.attribute()
    }

    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_come_from_the_first_and_the_last_name() {
        for (name, letters) in
            [("Mara Lindqvist", "ML"), ("invoice-sync", "I"), ("Ana Maria de Souza", "AS"), ("  ", ""), ("张 伟", "张伟")]
        {
            assert_eq!(initials(name), letters);
        }
    }
}
