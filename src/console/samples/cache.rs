//! The cache pages, with hostile keys and values.

use std::time::Duration;

use askama::Template;
use uuid::Uuid;

use super::data::{HOSTILE, layout, noon, refusal};
use crate::console::pages::cache::{Tab, Tabs, clients, key, key_deletion, keys, metrics, namespaces, scans, settings, slowlog};
use crate::domain::actor::Role;
use crate::domain::cache::Cleared;
use crate::domain::keyspace::namespaces::Namespace;
use crate::domain::keyspace::slowlog::Entry;
use crate::domain::keyspace::{Cost, Decoded, Described, Elements, Page, PendingEntry, StreamGroup, Ttl};
use crate::domain::keyspace::{Group, LargeKey, LiteralKey, Name, Progress, Row, Sample, Scan, ScanKind, ScanState, SearchPage, Viewed};
use crate::domain::keyspace::{Setting, SettingValue};
use crate::domain::redis_metrics::{Client, Info, PoolUsage};
use crate::domain::redis_metrics::{Point, Range, RedisMetrics, Sums};

const COST: Cost = Cost { commands: 6, time: Duration::from_micros(1_400) };
const USAGE: PoolUsage = PoolUsage { in_use: 1, idle: 2, waiting: 3, limit: 10 };

fn admin(title: &str) -> crate::console::view::layout::Layout {
    layout(title, Some(Role::Admin))
}

fn tabs(open: Tab) -> Tabs {
    Tabs::of(&admin(""), Some(open))
}

fn hostile() -> Vec<u8> {
    [HOSTILE.as_bytes(), b"\xff\0"].concat()
}

fn described() -> Described {
    Described { kind: Some(HOSTILE.into()), ttl: Ttl::Remaining(Duration::from_secs(90)), bytes: Some(412) }
}

fn search(rows: usize, next: Option<u64>, exact: bool) -> String {
    let row = || Row { name: Name::parse(hostile()).unwrap(), described: described() };
    let progress = Progress { examined: 20_000, calls: 40, time: Duration::from_millis(44) };
    let found = SearchPage { literal: vec![row()], rows: (0..rows).map(|_| row()).collect(), progress, total: 10_000_000, next, exact };
    let query = keys::IndexQuery { pattern: HOSTILE.into(), cursor: "7".into(), ..keys::IndexQuery::default() };
    let page =
        keys::IndexPage { layout: admin("Keys"), tabs: tabs(Tab::Keys), query, refusal: refusal("match"), found: Some(found), cost: COST };
    page.render().unwrap()
}

fn one_key(elements: Elements) -> String {
    let groups = vec![StreamGroup { name: hostile(), consumers: 1, pending: 2, last_delivered: HOSTILE.into(), lag: None }];
    let pending = PendingEntry { group: hostile(), id: HOSTILE.into(), consumer: hostile(), idle: Duration::from_secs(90), deliveries: 2 };
    let field_ttls = Some(vec![Ttl::Remaining(Duration::from_secs(90))]);
    let page = Page { field_ttls, ..Page::new(elements, 2, Some("100".into())) };
    let viewed = Viewed {
        name: Name::parse(hostile()).unwrap(),
        described: described(),
        encoding: Some(HOSTILE.into()),
        page,
        groups,
        pending: vec![pending],
    };
    let query = key::ShowQuery { from: "1".into(), ..key::ShowQuery::default() };
    let typed = (HOSTILE.to_owned(), "days".to_owned());
    let decoded = Some(Decoded { format: HOSTILE.into(), text: Some(HOSTILE.into()), note: Some(HOSTILE.into()) });
    key::ShowPage { layout: admin(HOSTILE), viewed, decoded, query, refusal: refusal("ttl"), typed, cost: COST }.render().unwrap()
}

fn scan(kind: ScanKind, state: ScanState) -> String {
    let large_key = LargeKey { name: hostile(), kind: HOSTILE.into(), length: 7, bytes: None };
    let scan = Scan {
        id: Uuid::nil(),
        kind,
        pattern: hostile(),
        state,
        total: 100,
        examined: 50,
        matched: 3,
        began_at: noon(),
        seen_at: noon(),
        by: HOSTILE.into(),
        biggest: vec![large_key],
        literal: [true, false].map(|is_matched| LiteralKey { name: hostile(), is_matched }).into(),
        examples: vec![hostile()],
    };
    scans::ShowPage { layout: admin("Scan"), scan, typed: HOSTILE.into(), refusal: refusal("confirm") }.render().unwrap()
}

fn metrics(info: &str, points: Option<Vec<Point>>) -> String {
    let metrics = RedisMetrics {
        info: Info::parse(info),
        ping: Duration::from_micros(300),
        slow: None,
        samples: Vec::new(),
        five_minutes: Sums::default(),
        hour: Sums::default(),
        day: None,
        range: Range::Day,
        points,
    };
    metrics::ShowPage::of(admin("Cache"), &metrics, [USAGE, USAGE], COST).render().unwrap()
}

fn server_pages() -> Vec<(&'static str, String)> {
    let entry =
        Entry { at: noon(), microseconds: 48_200, command: HOSTILE.into(), shown: vec![hostile()], hidden: 2, client: HOSTILE.into() };
    let slow = |result| slowlog::SlowPage { layout: admin("Slow log"), tabs: tabs(Tab::Slow), result, values: true, cost: COST };
    let client = Client {
        name: HOSTILE.into(),
        address: HOSTILE.into(),
        user: HOSTILE.into(),
        command: HOSTILE.into(),
        flags: "b".into(),
        ..Client::default()
    };
    let clients =
        clients::ClientsPage { layout: admin("Clients"), tabs: tabs(Tab::Clients), result: Ok(vec![client]), count: 9, cost: COST };
    let result = Ok(vec![Setting { name: HOSTILE.to_owned(), value: SettingValue::Shown(HOSTILE.to_owned()) }]);
    let settings =
        settings::SettingsPage { layout: admin("Configuration"), tabs: tabs(Tab::Settings), result, query: HOSTILE.into(), cost: COST };
    vec![
        ("cache-slowlog", slow(Ok(slowlog::SlowRow::all(vec![entry]))).render().unwrap()),
        ("cache-slowlog-none", slow(Ok(Vec::new())).render().unwrap()),
        ("cache-slowlog-not-permitted", slow(Err(HOSTILE.into())).render().unwrap()),
        ("cache-clients", clients.render().unwrap()),
        ("cache-settings", settings.render().unwrap()),
    ]
}

fn namespaces_page(whole: bool) -> String {
    let group = Group { prefix: hostile(), depth: 2, keys: 3, bytes: 100, lives: [1, 0, 0, 0, 1, 1] };
    let sample = Sample { at: noon(), total: 100, sampled: 10, whole, own: 1, own_bytes: 5, groups: vec![group.clone()] };
    let of = |name: &str, group, stats| Namespace { name: name.into(), group, stats, clearable: true, ttl: None };
    let namespaces = vec![of(HOSTILE, Some(group), None), of("own", None, Some(Default::default()))];
    let page = namespaces::IndexPage { layout: admin("Namespaces"), tabs: tabs(Tab::Namespaces), sample, namespaces, cost: COST };
    page.render().unwrap()
}

pub fn pages() -> Vec<(&'static str, String)> {
    let pair = || vec![(hostile(), hostile())];
    let full = "redis_version:<b>\r\nused_memory:1728724337\r\nmaxmemory:2147483648\r\nmaxmemory_policy:noeviction\r\nrole:slave\r\n\
                connected_clients:38\r\nmaxclients:40\r\nmem_fragmentation_ratio:0.5\r\nmem_fragmentation_bytes:-7\r\nerrorstat_<b>:count=4\r\n\
                latency_percentiles_usec_<b>:p50=1.003,p99=20000.5,p99.9=1\r\nlazyfree_pending_objects:1\r\nused_memory_peak:9999999999\r\n\
                rdb_last_bgsave_status:err\r\ndb0:keys=2000,expires=1,avg_ttl=0\r\n";
    let point = Point { hit_ratio: Some(94.0), memory: Some(1_000_000), operations: Some(612.0) };
    let biggest = scans::BiggestPage { layout: admin("Biggest keys"), tabs: tabs(Tab::Biggest), running: Some(Uuid::nil()) };
    let clear = namespaces::ClearPage { layout: admin("Clear?"), namespace: HOSTILE.into(), counted: Cleared::default() };
    let viewed = Viewed {
        name: Name::parse(hostile()).unwrap(),
        described: described(),
        encoding: None,
        page: Page::new(Elements::Unknown, 0, None),
        groups: Vec::new(),
        pending: Vec::new(),
    };
    let mut pages = vec![
        ("cache-keys", search(2, Some(u64::MAX), false)),
        ("cache-keys-none", search(0, Some(1), false)),
        ("cache-keys-exact", search(0, None, true)),
        ("cache-key-bytes", one_key(Elements::Bytes(hostile()))),
        ("cache-key-hash", one_key(Elements::Hash(pair()))),
        ("cache-key-list", one_key(Elements::List(vec![hostile().repeat(100)]))),
        ("cache-key-set", one_key(Elements::Set(Vec::new()))),
        ("cache-key-zset", one_key(Elements::SortedSet(vec![(hostile(), HOSTILE.into())]))),
        ("cache-key-stream", one_key(Elements::Stream(vec![(HOSTILE.into(), pair())]))),
        ("cache-key-document", one_key(Elements::Document(HOSTILE.into()))),
        ("cache-key-facts", one_key(Elements::Facts("time series", vec![(HOSTILE.into(), HOSTILE.into())]))),
        ("cache-key-unknown", one_key(Elements::Unknown)),
        ("cache-key-json-field", one_key(Elements::Hash(vec![(hostile(), b"{\"<b>\":1}".to_vec()), (hostile(), b"HYLL".to_vec())]))),
        ("cache-key-large", one_key(Elements::TooLarge(99))),
        ("cache-key-delete", key_deletion::ConfirmPage { layout: admin("Delete?"), viewed }.render().unwrap()),
        ("cache-scan-count", scan(ScanKind::Count, ScanState::Done)),
        ("cache-scan-delete", scan(ScanKind::Delete, ScanState::Failed(HOSTILE.into()))),
        ("cache-scan-biggest", scan(ScanKind::Biggest, ScanState::Running)),
        ("cache-biggest", biggest.render().unwrap()),
        ("cache", metrics(full, Some(vec![point, Point::default(), point]))),
        ("cache-not-permitted", metrics("", None)),
        ("cache-namespaces", namespaces_page(false)),
        ("cache-namespaces-whole", namespaces_page(true)),
        ("cache-clear", clear.render().unwrap()),
    ];
    pages.extend(server_pages());
    pages
}
