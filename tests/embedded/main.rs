//! The embedded servers: they keep their data, are restarted, and never outlive their owner.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod access;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{Credentials, Region};
use larder::embedded::{Error, Options, S3Kind, Servers};

/// Set for the copy of this program that holds the servers and is killed.
const HOLD: &str = "LARDER_TEST_HOLD";

fn start(directory: &Path) -> Servers {
    Servers::start(directory, Options::default()).unwrap()
}

fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Everything that has `directory` as its working directory or below: the servers and their children.
fn processes_in(directory: &Path) -> Vec<u32> {
    let directory = directory.canonicalize().unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&directory))).collect()
}

fn s3(servers: &Servers) -> aws_sdk_s3::Client {
    let urls = servers.urls();
    let credentials = Credentials::new(&urls.s3_access_key_id, &urls.s3_secret_access_key, None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .endpoint_url(&urls.s3_endpoint)
        .force_path_style(true)
        .credentials_provider(credentials)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn write(servers: &Servers) {
    let (client, connection) = tokio_postgres::connect(&servers.urls().database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('kept')").await.unwrap();
    let redis = redis::Client::open(servers.urls().redis_url.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET").arg("word").arg("kept").exec_async(&mut redis).await.unwrap();
    let s3 = s3(servers);
    s3.create_bucket().bucket("kept").send().await.unwrap();
    s3.put_object().bucket("kept").key("word").body(b"kept".to_vec().into()).send().await.unwrap();
}

async fn read(servers: &Servers) -> [String; 3] {
    let (client, connection) = tokio_postgres::connect(&servers.urls().database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row: String = client.query_one("SELECT word FROM kept", &[]).await.unwrap().get(0);
    let redis = redis::Client::open(servers.urls().redis_url.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let value: String = redis::cmd("GET").arg("word").query_async(&mut redis).await.unwrap();
    let object = s3(servers).get_object().bucket("kept").key("word").send().await.unwrap();
    let object = object.body.collect().await.unwrap().into_bytes();
    [row, value, String::from_utf8(object.into()).unwrap()]
}

const KEPT: [&str; 3] = ["kept", "kept", "kept"];

#[tokio::test(flavor = "multi_thread")]
async fn data_survives_a_stop_and_a_kill_of_every_server() {
    // Paths with spaces and quotes work, as do paths too long for a socket.
    // Where root may make no user namespace, PostgreSQL runs as another user, who has to pass through.
    let temporary = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let directory = temporary.path().join("a \"b\" c").join("d".repeat(100));
    let began = Instant::now();
    let servers = start(&directory);
    eprintln!("first start: {:?}", began.elapsed());
    write(&servers).await;
    let began = Instant::now();
    servers.stop();
    eprintln!("stop: {:?}", began.elapsed());
    assert!(processes_in(&directory).is_empty());
    let began = Instant::now();
    let servers = start(&directory);
    eprintln!("second start: {:?}", began.elapsed());
    assert_eq!(read(&servers).await, KEPT);

    for server in [servers.postgres(), servers.redis(), servers.s3()] {
        let before = server.pid().unwrap();
        server.kill();
        eventually("the killed server is restarted", Duration::from_secs(10), || server.pid().is_some_and(|pid| pid != before));
        server.wait_until_up().unwrap();
        eprintln!("up after kill: {:?}", began.elapsed());
    }
    assert_eq!(read(&servers).await, KEPT);
    eprintln!("read: {:?}", began.elapsed());
    servers.stop();
    eprintln!("stopped: {:?}", began.elapsed());
}

#[test]
fn a_server_can_be_frozen_thawed_stopped_and_started() {
    let directory = tempfile::tempdir().unwrap();
    let servers = start(directory.path());
    let pid = servers.redis().pid().unwrap();
    servers.redis().freeze();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().split(' ').nth(2).unwrap().to_owned();
    eventually("the server is frozen", Duration::from_secs(2), || state() == "T");
    servers.redis().thaw();
    eventually("it runs", Duration::from_secs(2), || state() != "T");
    servers.redis().stop();
    assert_eq!(servers.redis().pid(), None);
    assert!(!runs(pid));
    servers.redis().start().unwrap();
    assert!(servers.redis().pid().is_some_and(runs));
    // A frozen server can be stopped as well.
    servers.s3().freeze();
    servers.stop();
    assert!(processes_in(directory.path()).is_empty());
}

#[test]
fn missing_programs_and_a_held_lock_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let servers = start(directory.path());
    let refused = Servers::start(directory.path(), Options { s3: S3Kind::SeaweedFs, ..Options::default() }).err().unwrap();
    assert!(matches!(refused, Error::Locked { .. }));
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    servers.stop();
}

/// Not a test of its own: the process that the next test kills.
#[test]
fn hold_the_servers() {
    let Some(directory) = std::env::var_os(HOLD) else { return };
    let servers = start(Path::new(&directory));
    eprintln!("HELD {}", servers.urls().s3_endpoint);
    loop {
        std::thread::park();
    }
}

fn holder(directory: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_the_servers", "--nocapture"])
        .env(HOLD, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("HELD")), "the holder did not start");
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_owners_leave_no_children_and_lose_no_data() {
    let directory = tempfile::tempdir().unwrap();
    let servers = start(directory.path());
    write(&servers).await;
    servers.stop();
    for _ in 0..3 {
        let mut holder = holder(directory.path());
        assert!(processes_in(directory.path()).len() >= 3);
        holder.kill().unwrap();
        holder.wait().unwrap();
        let began = Instant::now();
        eventually("no child is left", Duration::from_secs(5), || processes_in(directory.path()).is_empty());
        eprintln!("clean after kill -9: {:?}", began.elapsed());
    }
    // Even immediately, while the children of the killed owner are still ending.
    let mut holder = holder(directory.path());
    holder.kill().unwrap();
    holder.wait().unwrap();
    let began = Instant::now();
    let servers = start(directory.path());
    eprintln!("start straight after kill -9: {:?}", began.elapsed());
    assert_eq!(read(&servers).await, KEPT);
    servers.stop();
}
