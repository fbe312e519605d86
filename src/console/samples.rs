//! Renders every template from sample data and checks that none contains inline scripts or styles, which the
//! Content-Security-Policy blocks.

mod cache;
mod data;
mod health;
mod styles;
mod upload_pages;

use askama::Template;
use uuid::Uuid;

use data::{HOSTILE, bucket, config, events, key, layout, listing, noon, probed, refusal};

use super::pages::{audit, bucket, buckets, deletions, object, overview, sessions, settings, setup, users};
use super::view::fragment::Fragment;
use crate::domain::actor::Role;
use crate::domain::buckets::{Bucket, BucketList, BucketStats, Settings, Versioning};
use crate::domain::names::BucketName;
use crate::domain::objects::{DeleteOutcome, LaterFolders, Listing, Object, ObjectToDelete, Origin, SharedLink};
use crate::domain::overview::{Overview, Stored};
use crate::domain::preview::{MediaKind, Preview};
use crate::domain::users::User;

fn listed(listing: Listing, place: bucket::Location) -> String {
    let layout = layout(HOSTILE, Some(Role::Editor));
    let page = bucket::assemble(layout, bucket(), place, listing, &config());
    bucket::ShowPage { refusal: refusal("to"), to: HOSTILE.into(), ..page }.render().unwrap()
}

fn object(preview: Preview, origin: Origin) -> String {
    let object = Object {
        bucket: bucket(),
        key: key(&format!("a/{HOSTILE}.png")),
        size: 6_814_720,
        etag: "7d79".into(),
        modified: Some(noon()),
        content_type: Some("text/html".into()),
        content_encoding: Some(HOSTILE.into()),
        version_id: Some("v1".into()),
        storage_class: Some(HOSTILE.into()),
        restore: Some(HOSTILE.into()),
        unreadable: None,
        metadata: vec![(HOSTILE.into(), HOSTILE.into())],
        origin,
        expires_at: None,
    };
    let events = Some(super::view::events::EventSummary::all(&events()));
    object::ShowPage {
        layout: layout(HOSTILE, Some(Role::Editor)),
        object,
        preview,
        events,
        local_link_host: Some(HOSTILE.into()),
        refusal: refusal("expires"),
    }
    .render()
    .unwrap()
}

fn objects() -> Vec<(&'static str, String)> {
    let ours = || Origin::Larder { by: HOSTILE.into(), sha256: Some("9f2c".into()) };
    let media = |kind, media| object(Preview::Media { kind, media, dimensions: Some((3508, 2480)) }, ours());
    let text = || HOSTILE.to_owned();
    vec![
        ("object-image", media(MediaKind::Image, "image/png")),
        ("object-audio", media(MediaKind::Audio, "audio/mpeg")),
        ("object-video", media(MediaKind::Video, "video/mp4")),
        ("object-pdf", media(MediaKind::Pdf, "application/pdf")),
        ("object-text", object(Preview::Text { text: text(), cut: true }, Origin::Changed)),
        ("object-json", object(Preview::Json { text: text() }, Origin::Outside)),
        ("object-csv", object(Preview::Csv { head: vec![text()], rows: vec![vec![text()]], cut: true }, Origin::Outside)),
        ("object-empty", object(Preview::Empty, Origin::Outside)),
        ("object-none", object(Preview::None(text()), Origin::Outside)),
    ]
}

fn bucket_pages() -> Vec<(&'static str, String)> {
    let stats = Some(BucketStats { objects: 48_217, bytes: 312_600_000_000, counted_at: noon() });
    let row = |name: &str, stats, denied| Bucket {
        name: BucketName::parse(name).unwrap(),
        created: Some(noon()),
        versioning: Some(Versioning::Suspended),
        stats,
        denied,
    };
    let rows = || vec![row("sme-files", stats.clone(), false), row("legacy-archive", None, true)];
    let list = |buckets, listing_denied| BucketList { buckets, listing_denied };
    let admin = || layout("Buckets", Some(Role::Admin));
    let index = |list| buckets::IndexPage::of(admin(), HOSTILE.into(), list, String::new());
    let refused = buckets::IndexPage { name: HOSTILE.into(), refusal: refusal("name"), ..index(list(rows(), true)) };
    let settings = |bucket, probed| Settings {
        name: self::bucket(),
        bucket,
        region: "eu-north-1".into(),
        endpoint: Some(HOSTILE.into()),
        key_rules: vec![HOSTILE.into()],
        probed,
        keeps_objects: true,
    };
    let shown = |settings| settings::ShowPage { layout: admin(), settings, typed: HOSTILE.into(), refusal: refusal("name") };
    let place = |prefix: &str, offset| bucket::Location { prefix: prefix.into(), limit: 100, offset, ..bucket::Location::default() };
    let empty = || Listing { folders: Vec::new(), objects: Vec::new(), next: None, marker: None, later: LaterFolders::default() };
    let searched = bucket::Location {
        starts: HOSTILE.into(),
        cursor: "c".into(),
        history: super::view::cursor_history::CursorHistory::parse("0."),
        ..place("a/", 100)
    };
    vec![
        ("buckets", refused.render().unwrap()),
        ("buckets-empty", index(list(Vec::new(), false)).render().unwrap()),
        ("settings", shown(settings(Some(row("sme-files", stats.clone(), false)), Some(probed()))).render().unwrap()),
        ("settings-down", shown(settings(None, None)).render().unwrap()),
        ("bucket", listed(listing(), place(&format!("a/{HOSTILE}/"), 0))),
        ("bucket-further", listed(listing(), searched.clone())),
        ("bucket-nothing", listed(empty(), searched)),
        ("bucket-empty", listed(empty(), place("", 0))),
    ]
}

fn deletion_pages() -> Vec<(&'static str, String)> {
    let chosen = deletions::Chosen { target: ObjectToDelete { key: key(HOSTILE), etag: HOSTILE.into() }, size: Some(5) };
    let confirm = |count| deletions::ConfirmPage {
        layout: layout(HOSTILE, Some(Role::Editor)),
        bucket: bucket(),
        chosen: vec![chosen.clone(); count],
        typed: HOSTILE.into(),
        versioning: None,
        refusal: refusal("name"),
    };
    let outcomes = vec![
        (HOSTILE.to_owned(), DeleteOutcome::Deleted),
        (HOSTILE.to_owned(), DeleteOutcome::Failed(HOSTILE.into())),
        ("a".to_owned(), DeleteOutcome::Changed),
    ];
    let link = SharedLink { url: HOSTILE.into(), until: noon() };
    vec![
        ("deletion", confirm(1).render().unwrap()),
        ("deletions", confirm(214).render().unwrap()),
        ("deletions-result", deletions::ResultPage::of(layout("Deleted", Some(Role::Editor)), bucket(), outcomes).render().unwrap()),
        (
            "links",
            object::links::ShowPage {
                layout: layout("Link", Some(Role::Editor)),
                bucket: bucket(),
                key: key(HOSTILE),
                link,
                local_host: Some(HOSTILE.into()),
            }
            .render()
            .unwrap(),
        ),
    ]
}

fn other_pages() -> Vec<(&'static str, String)> {
    let overview = |events| Overview {
        stored: Some(Stored { objects: 78_081, bytes: 367_600_000_000, counted: 7, counted_at: noon(), buckets: 8 }),
        uploads_today: 1284,
        bytes_today: 6_200_000_000,
        failed_today: 1,
        by_hour: [3; 24],
        events,
    };
    let index = |figures| {
        let services = health::snapshots().iter().map(super::view::service_status::ServiceStatus::of).collect();
        let live = Fragment::of(&overview::LiveFragment { services, figures, is_admin: true }).unwrap();
        overview::IndexPage { layout: layout("Overview", Some(Role::Admin)), now: noon(), live }
    };
    let user = User {
        id: Uuid::nil(),
        email: HOSTILE.into(),
        name: HOSTILE.into(),
        role: Role::Editor,
        disabled: true,
        last_seen_at: Some(noon()),
        created_at: noon(),
    };
    let people = users::IndexPage::of(layout("Users", Some(Role::Admin)), vec![user], Uuid::nil());
    let people = users::IndexPage { alert: Some(HOSTILE.into()), refusal: refusal("name"), ..people };
    let query = audit::IndexQuery { actor: HOSTILE.into(), resource: HOSTILE.into(), from: HOSTILE.into(), ..audit::IndexQuery::default() };
    let log = audit::index_page(layout("Audit", Some(Role::Admin)), query, crate::domain::audit::Page { events: events(), next: Some(3) });
    let session = sessions::NewPage {
        layout: layout("Sign in", None),
        email: HOSTILE.into(),
        next: "/".into(),
        refusal: HOSTILE.into(),
        needs_setup: true,
    };
    let setup = setup::NewPage {
        layout: layout("Set up", None),
        token: HOSTILE.into(),
        email: HOSTILE.into(),
        name: HOSTILE.into(),
        refusal: refusal("token"),
    };
    vec![
        ("overview", index(Some(overview::Figures::of(overview(events())))).render().unwrap()),
        ("overview-down", index(None).render().unwrap()),
        ("users", people.render().unwrap()),
        ("audit", audit::IndexPage { refusal: refusal("from"), ..log }.render().unwrap()),
        ("sessions", session.render().unwrap()),
        ("setup", setup.render().unwrap()),
    ]
}

fn all() -> Vec<(&'static str, String)> {
    let mut pages = bucket_pages();
    pages.extend(objects());
    pages.extend(deletion_pages());
    pages.extend(upload_pages::all());
    pages.extend(upload_pages::unfinished());
    pages.extend(other_pages());
    pages.extend(cache::pages());
    pages.extend(health::pages());
    pages
}

#[test]
fn every_template_renders_without_inline_script_or_style() {
    for (name, html) in all() {
        let document = scraper::Html::parse_document(&html);
        let every = scraper::Selector::parse("*").unwrap();
        for element in document.select(&every) {
            let value = element.value();
            assert_ne!(value.name(), "style", "{name}");
            assert!(
                value.name() != "script" || value.attr("src").is_some_and(|src| src.starts_with("/static/")),
                "{name}: {}",
                element.html()
            );
            for (attribute, text) in value.attrs() {
                assert!(!attribute.starts_with("on") && attribute != "style", "{name}: {attribute} in {}", element.html());
                let leads = matches!(attribute, "href" | "src" | "action" | "formaction");
                assert!(!leads || text.is_empty() || text.starts_with('/') || text.starts_with('#'), "{name}: {attribute}={text}");
            }
        }
        let headings = document.select(&scraper::Selector::parse("h1").unwrap()).count();
        assert_eq!(headings, 1, "{name}: one h1");
    }
}

#[test]
fn names_and_values_are_not_translated_by_the_browser() {
    let values =
        scraper::Selector::parse("bdi, code, pre, .mono:not(input, textarea), .who, .person-name, .row-name, .queue-name, table.csv")
            .unwrap();
    for (name, html) in all() {
        let document = scraper::Html::parse_document(&html);
        for element in document.select(&values) {
            let mut around = std::iter::once(element).chain(element.ancestors().filter_map(scraper::ElementRef::wrap));
            assert!(around.any(|element| element.value().attr("translate") == Some("no")), "{name}: {}", element.html());
        }
    }
}

#[test]
fn ids_are_unique_and_every_referenced_id_exists() {
    for (name, html) in all() {
        let document = scraper::Html::parse_document(&html);
        let ids: Vec<&str> =
            document.select(&scraper::Selector::parse("[id]").unwrap()).filter_map(|element| element.value().attr("id")).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{name}: #{id} twice");
        }
        for attribute in ["for", "aria-describedby", "form"] {
            let selector = scraper::Selector::parse(&format!("[{attribute}]")).unwrap();
            for element in document.select(&selector) {
                for id in element.value().attr(attribute).unwrap_or_default().split_whitespace() {
                    assert!(ids.contains(&id), "{name}: {attribute}={id}");
                }
            }
        }
    }
}

#[test]
fn rejected_input_is_shown_again() {
    let typed = |html: &str, selector: &str| {
        let document = scraper::Html::parse_document(html);
        let field = document.select(&scraper::Selector::parse(selector).unwrap()).next().unwrap();
        field.value().attr("value").unwrap().to_owned()
    };
    let buckets = &bucket_pages()[0].1;
    assert_eq!(typed(buckets, "#bucket-name"), HOSTILE);
    let setup = other_pages().pop().unwrap().1;
    for field in ["#token", "#name", "#email"] {
        assert_eq!(typed(&setup, field), HOSTILE, "{field}");
    }
    assert_eq!(typed(&setup, "#password"), "");
}

#[test]
fn every_icon_in_a_template_exists() {
    let mut directories = vec![std::path::PathBuf::from("templates")];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (end, _) in text.match_indices("\"|icon") {
                let name = text[..end].rsplit('"').next().unwrap();
                assert!(super::view::icons::is_known(name), "{name} in {}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "the templates have icons");
}
