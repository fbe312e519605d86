//! Request bodies cut anywhere, by FIN and by RST: incomplete files are never stored or reported as stored.

use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::domain::actor::{Actor, Role};

use super::checker::Checker;
use super::child::{World, free_port};
use super::either;
use super::ledger::{Ledger, Outcome};
use super::random::Random;
use super::raw::Upload;
use super::sender::Sender;
use crate::support::{Set, TestApp, eventually, eventually_within};

const MIB: usize = 1 << 20;
/// Concurrent uploads in these tests: a slot that is not released is noticed soon.
const SLOTS: usize = 4;

/// Cuts one upload at a random position; files received completely before are recorded as possibly stored.
async fn cut(sender: &Sender, name: &str, random: &mut Random) {
    let by_reset = random.within(0, 1) == 0;
    let (least, most, count) = match random.within(0, 9) {
        0..=3 => (1, 50_000, 1),
        4..=6 => (1, 20_000, 5),
        7 => (100_000, 3 * MIB, 1),
        8 => (8 * MIB + 1, 17 * MIB, 1),
        _ => return cut_part(sender, name, random).await,
    };
    let mut files: Vec<(String, Bytes)> = Vec::new();
    for at in 0..count {
        let size = random.within(least, most);
        files.push((format!("{name}-{at}"), random.bytes(size)));
    }
    let upload = Upload::form(sender, &files, false);
    let (slots, at) = (upload.files.clone(), random.within(0, upload.last_byte()));
    let began = Instant::now();
    let mut sending = upload.begin().await;
    sending.send_up_to(at).await;
    if by_reset {
        sending.reset();
    } else {
        let answer = sending.finish().await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "cut at {at}: {answer}");
    }
    for ((name, body), (_, end)) in files.iter().zip(slots) {
        // Earlier files may have arrived completely, or may still have been in transit.
        let outcome = if at <= end { Outcome::Refused } else { Outcome::Unknown };
        sender.ledger.enter(name, body, false, began, outcome);
    }
}

async fn cut_part(sender: &Sender, name: &str, random: &mut Random) {
    let body = random.bytes(9 * MIB);
    let opened = sender.open(name, &body, false).await.unwrap();
    let (id, size) = (opened.body["id"].as_str().unwrap().to_owned(), opened.body["part_size"].as_u64().unwrap() as usize);
    let part = Upload::part(sender, &id, 1, &body[..size]);
    let at = random.within(0, size - 1);
    let mut sending = part.begin().await;
    sending.send_up_to(at).await;
    if random.within(0, 1) == 0 {
        sending.reset();
    } else {
        let answer = sending.finish().await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "part cut at {at}: {answer}");
    }
    let found = sender.open(name, &body, false).await.unwrap();
    assert_eq!((found.body["id"].as_str(), found.body["parts"].as_array().map(Vec::len)), (Some(id.as_str()), Some(0)));
}

/// All slots and memory are released: with one lost, another upload would wait or be rejected.
async fn nothing_is_held(sender: &Sender, random: &mut Random) {
    let body = random.bytes(9 * MIB);
    let uploads = (0..SLOTS).map(|_| {
        let (name, body) = (uuid::Uuid::now_v7().to_string(), body.clone());
        async move { sender.file(&name, &body, false).await.unwrap() }
    });
    for answer in futures_util::future::join_all(uploads).await {
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_anywhere_stores_nothing_and_releases_memory_and_slots() {
    let mut random = Random::announced("cuts");
    let app = TestApp::start_with(|config| {
        (config.upload.at_once, config.upload.memory) = (SLOTS, 32 * MIB);
        config.upload.lease = super::child::LEASE;
    })
    .await;
    let sender = Sender::sign_in(&app.base, &app.bucket, &app.new_user(Role::Editor).await, Ledger::default()).await;
    for round in 0..either(50, 250) {
        cut(&sender, &format!("cut-{round}"), &mut random).await;
    }
    let somebody = Actor { role: Role::Editor, ..Actor::system("Tests") };
    eventually_within(Duration::from_secs(60), "memory and slots are released", async || {
        let slots: Vec<_> = (0..SLOTS).map_while(|_| app.ctx.upload_memory.enter(&somebody).ok()).collect();
        app.ctx.upload_memory.in_use() == 0 && slots.len() == SLOTS
    })
    .await;
    Checker::of(&app).await.check(&sender.ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_received_completely_before_the_cut_are_stored() {
    let mut random = Random::announced("cut forms");
    let app = TestApp::start_with(|config| config.upload.lease = super::child::LEASE).await;
    let sender = Sender::sign_in(&app.base, &app.bucket, &app.new_user(Role::Editor).await, Ledger::default()).await;
    for (round, by_reset) in [(0, false), (1, true)] {
        let files: Vec<_> = (0..3).map(|at| (format!("form-{round}-{at}"), random.bytes(10_000 + at * 100_000))).collect();
        let upload = Upload::form(&sender, &files, false);
        let (at, began) = (upload.last_byte() - 1, Instant::now());
        let mut sending = upload.begin().await;
        sending.send_up_to(at).await;
        let sql = app.sql().await;
        eventually("the earlier files are stored", async || {
            let stored = "SELECT 1 FROM files WHERE state = 'ready' AND object_key LIKE $1";
            sql.query(stored, &[&format!("form-{round}-%")]).await.unwrap().len() == 2
        })
        .await;
        if by_reset {
            sending.reset();
        } else {
            drop(sending.finish().await);
        }
        for (at, (name, body)) in files.iter().enumerate() {
            sender.ledger.enter(name, body, false, began, if at < 2 { Outcome::Stored } else { Outcome::Refused });
        }
    }
    Checker::of(&app).await.check(&sender.ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_anywhere_leaves_no_file_open() {
    let mut random = Random::announced("cuts of a process");
    let world = World::new(Set::shared().await).await;
    let slots = SLOTS.to_string();
    let larder = world.start(free_port(), &[("UPLOAD_LIMIT", &slots), ("UPLOAD_MEMORY", "32MiB")]).await;
    let sender = world.sender(&larder).await;
    // The connection pools reach their maximum size.
    nothing_is_held(&sender, &mut random).await;
    for round in 0..5 {
        cut(&sender, &format!("warm-{round}"), &mut random).await;
    }
    let before = larder.descriptors();
    let mut most = before;
    for round in 0..either(50, 250) {
        cut(&sender, &format!("cut-{round}"), &mut random).await;
        most = most.max(larder.descriptors());
    }
    // A pool may happen to have grown slightly.
    let allowed = before + 8;
    eventually_within(Duration::from_secs(60), "files and sockets are closed", async || larder.descriptors() <= allowed).await;
    eprintln!("open files: {before} before, {most} at most, {} after", larder.descriptors());
    eventually_within(Duration::from_secs(60), "slots are free", async || {
        let answer = sender.file("probe", &Bytes::from_static(b"x"), true).await.unwrap();
        answer.status == 201
    })
    .await;
    nothing_is_held(&sender, &mut random).await;
    world.checker().await.check(&world.ledger).await;
}
