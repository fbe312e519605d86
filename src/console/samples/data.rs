//! Hostile sample data: names and values that would execute if a page did not escape them.

use crate::config::{Config, Stores};
use crate::console::pages::Refusal;
use crate::console::view::breadcrumbs::Crumb;
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Frame, Layout, Person, Section};
use crate::console::view::theme::Theme;
use crate::domain::abilities::KeyRules;
use crate::domain::abilities::{Abilities, Ability, Probed};
use crate::domain::actor::Role;
use crate::domain::audit::{Action, Event};
use crate::domain::health::Service;
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::objects::{Entry, Folder, LaterFolders, Listing, Origin};
use crate::domain::sessions::Session;
use crate::domain::uploads::Activity;
use crate::domain::uploads::multipart_list::{MultipartUpload, Owner, Progress};
use crate::domain::uploads::{File, FileState};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

pub const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1) style=\"x\">'\n\u{202e}";

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub fn noon() -> DateTime<Utc> {
    at("2026-11-20T12:00:00Z")
}

pub fn bucket() -> BucketName {
    BucketName::parse("sme-files").unwrap()
}

pub fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

pub fn config() -> Config {
    let lookup = |name: &str| {
        let value = match name {
            "DATABASE_URL" => "postgres://larder:secret@127.0.0.1/larder",
            "REDIS_URL" => "redis://127.0.0.1",
            "S3_ENDPOINT_URL" => "http://127.0.0.1:9000",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "key",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::from_lookup(&lookup, Stores::FromEnvironment).unwrap()
}

pub fn layout(title: &str, role: Option<Role>) -> Layout {
    let session =
        |role| Session { id: Uuid::nil(), tenant: Uuid::nil(), user: Uuid::nil(), name: HOSTILE.into(), email: HOSTILE.into(), role };
    let frame = Frame {
        theme: Theme::Dark,
        flash: Some(Flash::warn(HOSTILE)),
        current_url: "/".into(),
        down: vec![(Service::S3, Some(noon()))],
        limited: vec![(Service::Redis, "The server is a replica and accepts no writes.")],
        host: "halden.example".into(),
        environment: "Production",
        https: true,
        flash_name: "larder-flash".into(),
    };
    let person = role.map(|role| Person::of(&session(role)));
    Layout::new(title, Section::Buckets, person, frame).with_parents([Crumb::link(HOSTILE, "/buckets")])
}

pub fn refusal(field: &'static str) -> Refusal {
    Refusal { field, why: HOSTILE.to_owned() }
}

pub fn event(action: &str, resource: &str, outcome: &str) -> Event {
    Event {
        sequence: 7,
        at: noon(),
        actor_kind: "user".into(),
        actor_id: None,
        actor_label: HOSTILE.into(),
        action: action.into(),
        resource: resource.into(),
        outcome: outcome.into(),
        address: Some("10.4.0.18".into()),
        request_id: Some("01JD4K2F".into()),
        detail: json!({ "why": HOSTILE }),
    }
}

pub fn events() -> Vec<Event> {
    let object = format!("s3://sme-files/a/{HOSTILE}");
    let mut events: Vec<Event> = Action::ALL.iter().map(|action| event(action.as_str(), &object, "ok")).collect();
    events.extend([
        event("session.refuse", "session", "refused"),
        event("user.role", "user:a@b.example", "failed"),
        event("new.thing", HOSTILE, "ok"),
    ]);
    events
}

pub fn file(state: FileState) -> File {
    File {
        id: Uuid::nil(),
        batch_id: Uuid::nil(),
        bucket: "sme-files".into(),
        key: format!("a/{HOSTILE}"),
        name: HOSTILE.into(),
        size: Some(1_400_000_000),
        sha256: Some("9f2c5be07a1d44c8".repeat(4)),
        etag: Some("7d79".into()),
        state,
        activity: (state == FileState::Pending).then_some(Activity::Waiting),
        resumable: Some(crate::domain::uploads::Progress { length: 1_240_000_000, received: 781_000_000, kept_until: noon() }),
        uploaded_by: HOSTILE.into(),
        error: (state == FileState::Failed).then(|| HOSTILE.into()),
        created_at: noon(),
        finished_at: None,
    }
}

pub fn files() -> Vec<File> {
    use FileState::{Cancelled, Deleted, Deleting, Failed, Pending, Ready, Superseded};
    [Ready, Pending, Failed, Cancelled, Superseded, Deleting, Deleted].map(file).into()
}

pub fn probed() -> Probed {
    let no = || Ability::No(HOSTILE.into());
    let abilities = Abilities {
        put_if_absent: Ability::Yes,
        complete_if_absent: Ability::Yes,
        put_if_match: no(),
        delete_if_match: no(),
        checksums: Ability::Yes,
        range: Ability::Yes,
        presigned: no(),
        encoded_listing: Ability::Yes,
        multipart_listing: no(),
        tagging: Ability::Unknown(HOSTILE.into()),
        versioning: no(),
        lifecycle: Ability::Unknown(HOSTILE.into()),
        policy: Ability::Yes,
        cors: no(),
        raw_open_keys: false,
        lists_by_folder: false,
        keys: KeyRules::default(),
    };
    Probed { abilities, bucket: HOSTILE.into(), at: noon() }
}

pub fn open_uploads() -> Vec<MultipartUpload> {
    use Activity::{Publishing, Received, Receiving, Stopped, Waiting};
    let ours = |activity| Owner::Larder { by: HOSTILE.into(), activity, kept_until: None };
    let kept = |activity| Owner::Larder { by: HOSTILE.into(), activity: Some(activity), kept_until: Some(noon()) };
    let owners =
        [ours(Some(Receiving)), ours(Some(Publishing)), ours(None), ours(Some(Stopped)), kept(Waiting), kept(Received), Owner::Other];
    let open = |owner| MultipartUpload {
        key: key(&format!("a/{HOSTILE}")),
        upload_id: HOSTILE.into(),
        initiated: Some(noon()),
        progress: Some(Progress { parts: 3, bytes: 25_165_824 }),
        owner,
        unreachable: None,
    };
    let mut all: Vec<MultipartUpload> = owners.map(open).into();
    all.push(MultipartUpload {
        progress: None,
        initiated: None,
        unreachable: Some("The store would confuse it with another upload."),
        ..open(Owner::Other)
    });
    all
}

pub fn entry(name: &str, origin: Origin, unreachable: Option<String>) -> Entry {
    Entry {
        key: key(&format!("a/{name}")),
        name: name.into(),
        size: 46_900,
        etag: "7d79".into(),
        modified: Some(noon()),
        storage_class: Some(HOSTILE.into()),
        origin,
        unreachable,
    }
}

pub fn listing() -> Listing {
    let long = "framework-agreement-2026-v7-final-countersigned-by-both-parties-2026-11-03.pdf";
    Listing {
        folders: vec![Folder { prefix: format!("a/{HOSTILE}/"), name: HOSTILE.into() }],
        objects: vec![
            entry(HOSTILE, Origin::Larder { by: HOSTILE.into(), sha256: None }, None),
            entry(long, Origin::Changed, None),
            entry("..", Origin::Outside, Some("The store would confuse this name with another.".into())),
        ],
        marker: None,
        later: LaterFolders { folders: vec![Folder { prefix: format!("a/{HOSTILE}2/"), name: HOSTILE.into() }], is_complete: false },
        next: Some("a token".into()),
    }
}
