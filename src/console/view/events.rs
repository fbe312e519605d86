//! Audit events as sentences with links.

use chrono::{DateTime, Utc};

use super::paths;
use crate::domain::audit::{Action, Event};
use crate::domain::names::{BucketName, ObjectKey};

/// An object, bucket or user named in a sentence, with the URL of its page.
pub struct Target {
    pub text: String,
    pub url: Option<String>,
}

/// `phrase subject preposition place`: "Uploaded a.pdf to sme-files/contracts".
pub struct EventSummary {
    pub at: DateTime<Utc>,
    pub actor: String,
    pub phrase: String,
    pub subject: Option<Target>,
    pub preposition: &'static str,
    pub place: Option<Target>,
    /// The client address, or "Larder" for actions of Larder itself.
    pub source: String,
    /// Set if the action was refused or failed.
    pub failure: Option<&'static str>,
}

impl EventSummary {
    pub fn of(event: &Event) -> Self {
        let action = Action::parse(&event.action);
        let (phrase, preposition) = match action {
            Some(action) => phrase(action),
            None => (event.action.as_str(), ""),
        };
        let (subject, place) = targets(action, &event.resource);
        let phrase = if action == Some(Action::SessionRefuse) && subject.is_none() { "Sign-in refused" } else { phrase };
        Self {
            at: event.at,
            actor: event.actor_label.clone(),
            phrase: phrase.to_owned(),
            preposition: if place.is_some() { preposition } else { "" },
            subject,
            place,
            source: event.address.clone().unwrap_or_else(|| if event.actor_kind == "system" { "Larder".to_owned() } else { String::new() }),
            failure: match event.outcome.as_str() {
                "refused" => Some("Refused"),
                "failed" => Some("Failed"),
                _ => None,
            },
        }
    }

    pub fn all(events: &[Event]) -> Vec<Self> {
        events.iter().map(Self::of).collect()
    }
}

/// The phrase, and the preposition before the place.
fn phrase(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::BucketCreate => ("Created bucket", ""),
        Action::BucketDelete => ("Deleted bucket", ""),
        Action::FileReconcile => ("Corrected the record of", "in"),
        Action::FolderCreate => ("Created folder", "in"),
        Action::CacheClear => ("Cleared namespace", ""),
        Action::CacheSlowlog => ("Viewed slow log values", ""),
        Action::KeyDelete => ("Deleted key", ""),
        Action::KeyDeleteMatching => ("Deleted keys matching", ""),
        Action::KeyExpire => ("Changed the expiry of key", ""),
        Action::ModelsCall => ("Called every model of", ""),
        Action::ObjectDelete => ("Deleted", "from"),
        Action::ObjectDownload => ("Downloaded", "from"),
        Action::ObjectPreview => ("Previewed", "in"),
        Action::ObjectShare => ("Created a link to", "in"),
        Action::ObjectUpload => ("Uploaded", "to"),
        Action::StoreProbe => ("Checked store features in", ""),
        Action::UploadAbort => ("Aborted the upload of", "to"),
        Action::UploadFail => ("Attempted to upload", "to"),
        Action::TokenRevoke => ("Revoked a token", ""),
        Action::SessionBegin => ("Signed in", ""),
        Action::SessionEnd => ("Signed out", ""),
        Action::SessionRefuse => ("Sign-in refused for", ""),
        Action::SetupComplete => ("Set up Larder as", ""),
        Action::UserCreate => ("Added user", ""),
        Action::UserDisable => ("Disabled user", ""),
        Action::UserEnable => ("Enabled user", ""),
        Action::UserPassword => ("Set the password of", ""),
        Action::UserRole => ("Changed the role of", ""),
        Action::AuditExport => ("Exported the audit log", ""),
    }
}

/// The targets in `resource`: an object and its folder, a bucket, a user, or none.
fn targets(action: Option<Action>, resource: &str) -> (Option<Target>, Option<Target>) {
    if let Some(rest) = resource.strip_prefix("s3://") {
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        let Some(bucket) = BucketName::parse(name) else {
            return (Some(Target { text: resource.to_owned(), url: None }), None);
        };
        let Some(key) = ObjectKey::parse(key) else {
            let url = (action != Some(Action::BucketDelete)).then(|| paths::bucket(&bucket));
            return (Some(Target { text: name.to_owned(), url }), None);
        };
        let place =
            Target { text: format!("{bucket}/{}", key.folder().trim_end_matches('/')), url: Some(paths::folder(&bucket, key.folder())) };
        let place = Target { text: place.text.trim_end_matches('/').to_owned(), ..place };
        let url = match action {
            Some(Action::ObjectDelete | Action::UploadAbort | Action::UploadFail) => None,
            Some(Action::FolderCreate) => Some(paths::folder(&bucket, key.as_str())),
            _ => Some(paths::object(&bucket, &key)),
        };
        return (Some(Target { text: key.name().to_owned(), url }), Some(place));
    }
    if let Some(email) = resource.strip_prefix("user:") {
        return (Some(Target { text: email.to_owned(), url: None }), None);
    }
    if let Some(name) = resource.strip_prefix("redis:").filter(|name| !name.is_empty()) {
        return (Some(Target { text: name.to_owned(), url: None }), None);
    }
    let is_implied = matches!(resource, "" | "redis:" | "session" | "audit" | "setup" | "token");
    ((!is_implied).then(|| Target { text: resource.to_owned(), url: None }), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_links_the_object_and_its_folder() {
        let (subject, place) = targets(Some(Action::ObjectUpload), "s3://sme-files/a b/c?.pdf");
        let (subject, place) = (subject.unwrap(), place.unwrap());
        assert_eq!((subject.text.as_str(), place.text.as_str()), ("c?.pdf", "sme-files/a b"));
        assert_eq!(subject.url.unwrap(), "/buckets/sme-files/object?key=a%20b%2Fc%3F.pdf");
        assert_eq!(place.url.unwrap(), "/buckets/sme-files?prefix=a%20b%2F");
    }

    #[test]
    fn deleted_targets_have_no_link() {
        assert!(targets(Some(Action::ObjectDelete), "s3://sme-files/a").0.unwrap().url.is_none());
        assert!(targets(Some(Action::BucketDelete), "s3://sme-files").0.unwrap().url.is_none());
        assert!(targets(Some(Action::SessionBegin), "session").0.is_none());
    }
    #[test]
    fn every_action_has_a_distinct_label() {
        let labels: std::collections::HashSet<&str> = Action::ALL.iter().map(|action| phrase(*action).0).collect();
        assert_eq!(labels.len(), Action::ALL.len());
        assert!(!labels.contains(""));
    }
}
