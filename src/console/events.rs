//! Audit events as sentences with links.

use chrono::{DateTime, Utc};

use super::paths;
use crate::domain::audit::Event;
use crate::domain::names::{BucketName, ObjectKey};

/// What a sentence names, with its page where it has one.
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
    /// Where the request came from, or what Larder did by itself.
    pub source: String,
    /// `refused` or `failed`, where it did not succeed.
    pub failure: Option<&'static str>,
}

impl EventSummary {
    pub fn of(event: &Event) -> Self {
        let (phrase, preposition) = phrase(&event.action, &event.outcome);
        let (subject, place) = targets(&event.action, &event.resource);
        Self {
            at: event.at,
            actor: event.actor_label.clone(),
            phrase: match (event.action.as_str(), &subject) {
                ("session.refuse", None) => "Was not let in".to_owned(),
                (action, _) => phrase.unwrap_or(action).to_owned(),
            },
            preposition: if place.is_some() { preposition } else { "" },
            subject,
            place,
            source: event
                .address
                .clone()
                .unwrap_or_else(|| if event.actor_kind == "system" { "Larder itself".to_owned() } else { String::new() }),
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

fn phrase(action: &str, outcome: &str) -> (Option<&'static str>, &'static str) {
    let (phrase, preposition) = match action {
        "bucket.create" => ("Made the bucket", ""),
        "bucket.delete" => ("Deleted the bucket", ""),
        "file.reconcile" => ("Corrected what was known of", "in"),
        "folder.create" => ("Made the folder", "in"),
        "cache.clear" => ("Cleared the namespace", ""),
        "cache.slowlog" => ("Read the values in the slow log", ""),
        "key.delete" => ("Deleted the key", ""),
        "key.delete_matching" => ("Deleted keys like", ""),
        "key.expire" => ("Set the expiry of the key", ""),
        "models.call" => ("Had every model called by", ""),
        "object.delete" => ("Deleted", "from"),
        "object.download" => ("Downloaded", "from"),
        "object.preview" => ("Previewed", "in"),
        "object.share" => ("Made a link to", "in"),
        "object.upload" => ("Uploaded", "to"),
        "store.probe" => ("Tried what the store can do in", ""),
        "upload.abort" => ("Aborted the upload of", "to"),
        "upload.fail" if outcome == "refused" => ("Tried to upload", "to"),
        "upload.fail" => ("Did not finish uploading", "to"),
        "token.revoke" => ("Revoked a token", ""),
        "session.begin" => ("Signed in", ""),
        "session.end" => ("Signed out", ""),
        "session.refuse" => ("Was not let in as", ""),
        "setup.complete" => ("Set Larder up as", ""),
        "user.create" => ("Added", ""),
        "user.disable" => ("Disabled", ""),
        "user.enable" => ("Enabled", ""),
        "user.password" => ("Set the password of", ""),
        "user.role" => ("Changed the role of", ""),
        "audit.export" => ("Exported the audit", ""),
        _ => return (None, ""),
    };
    (Some(phrase), preposition)
}

/// What `resource` names: an object and its folder, a bucket, a person, or nothing worth saying.
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
    let said = matches!(resource, "" | "redis:" | "session" | "audit" | "setup" | "token");
    ((!said).then(|| Target { text: resource.to_owned(), url: None }), None)
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
    fn what_is_gone_has_no_link() {
        assert!(targets("object.delete", "s3://sme-files/a").0.unwrap().url.is_none());
        assert!(targets("bucket.delete", "s3://sme-files").0.unwrap().url.is_none());
        assert!(targets("session.begin", "session").0.is_none());
    }
}
