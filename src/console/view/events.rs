//! Audit events as sentences with links.

use chrono::{DateTime, Utc};

use super::paths;
use crate::domain::audit::Event;
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
        let (phrase, preposition) = phrase(&event.action);
        let (subject, place) = targets(&event.action, &event.resource);
        Self {
            at: event.at,
            actor: event.actor_label.clone(),
            phrase: match (event.action.as_str(), &subject) {
                ("session.refuse", None) => "Sign-in refused".to_owned(),
                (action, _) => phrase.unwrap_or(action).to_owned(),
            },
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

fn phrase(action: &str) -> (Option<&'static str>, &'static str) {
    let (phrase, preposition) = match action {
        "bucket.create" => ("Created bucket", ""),
        "bucket.delete" => ("Deleted bucket", ""),
        "file.reconcile" => ("Corrected the record of", "in"),
        "folder.create" => ("Created folder", "in"),
        "cache.clear" => ("Cleared namespace", ""),
        "cache.slowlog" => ("Viewed slow log values", ""),
        "key.delete" => ("Deleted key", ""),
        "key.delete_matching" => ("Deleted keys matching", ""),
        "key.expire" => ("Changed the expiry of key", ""),
        "models.call" => ("Called every model of", ""),
        "object.delete" => ("Deleted", "from"),
        "object.download" => ("Downloaded", "from"),
        "object.preview" => ("Previewed", "in"),
        "object.share" => ("Created a link to", "in"),
        "object.upload" => ("Uploaded", "to"),
        "store.probe" => ("Checked store features in", ""),
        "upload.abort" => ("Aborted the upload of", "to"),
        "upload.fail" => ("Attempted to upload", "to"),
        "token.revoke" => ("Revoked a token", ""),
        "session.begin" => ("Signed in", ""),
        "session.end" => ("Signed out", ""),
        "session.refuse" => ("Sign-in refused for", ""),
        "setup.complete" => ("Set up Larder as", ""),
        "user.create" => ("Added user", ""),
        "user.disable" => ("Disabled user", ""),
        "user.enable" => ("Enabled user", ""),
        "user.password" => ("Set the password of", ""),
        "user.role" => ("Changed the role of", ""),
        "audit.export" => ("Exported the audit log", ""),
        _ => return (None, ""),
    };
    (Some(phrase), preposition)
}

/// The targets in `resource`: an object and its folder, a bucket, a user, or none.
fn targets(action: &str, resource: &str) -> (Option<Target>, Option<Target>) {
    if let Some(rest) = resource.strip_prefix("s3://") {
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        let Some(bucket) = BucketName::parse(name) else {
            return (Some(Target { text: resource.to_owned(), url: None }), None);
        };
        let Some(key) = ObjectKey::parse(key) else {
            let url = (action != "bucket.delete").then(|| paths::bucket(&bucket));
            return (Some(Target { text: name.to_owned(), url }), None);
        };
        let place =
            Target { text: format!("{bucket}/{}", key.folder().trim_end_matches('/')), url: Some(paths::folder(&bucket, key.folder())) };
        let place = Target { text: place.text.trim_end_matches('/').to_owned(), ..place };
        let url = match action {
            "object.delete" | "upload.abort" | "upload.fail" => None,
            "folder.create" => Some(paths::folder(&bucket, key.as_str())),
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
        let (subject, place) = targets("object.upload", "s3://sme-files/a b/c?.pdf");
        let (subject, place) = (subject.unwrap(), place.unwrap());
        assert_eq!((subject.text.as_str(), place.text.as_str()), ("c?.pdf", "sme-files/a b"));
        assert_eq!(subject.url.unwrap(), "/buckets/sme-files/object?key=a%20b%2Fc%3F.pdf");
        assert_eq!(place.url.unwrap(), "/buckets/sme-files?prefix=a%20b%2F");
    }

    #[test]
    fn deleted_targets_have_no_link() {
        assert!(targets("object.delete", "s3://sme-files/a").0.unwrap().url.is_none());
        assert!(targets("bucket.delete", "s3://sme-files").0.unwrap().url.is_none());
        assert!(targets("session.begin", "session").0.is_none());
    }
}
