//! Every port and socket of the servers, and whether other users and programs on this machine can reach them.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{KEPT, processes_in, read, start, write};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The sockets of a process, by inode.
fn sockets_of(pid: u32) -> HashSet<String> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

/// Address and port, in hexadecimal, of each listening socket in our network namespace whose inode is in `inodes`.
fn listening(inodes: &HashSet<String>) -> Vec<String> {
    let tables =
        ["tcp", "tcp6", "udp", "udp6"].map(|table| (table, std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default()));
    let mut found = Vec::new();
    for (table, text) in &tables {
        for fields in text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
            if (fields[3] == LISTEN || table.starts_with("udp")) && inodes.contains(fields[9]) {
                found.push(fields[1].to_owned());
            }
        }
    }
    found
}

/// The named unix sockets that `pid` listens on, according to its own network namespace.
fn unix_sockets(pid: u32, inodes: &HashSet<String>) -> Vec<String> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let rows = table.lines().skip(1).map(|line| line.splitn(8, ' ').map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|fields| fields.len() == 8 && inodes.contains(fields[6].trim()))
        .map(|fields| fields[7].trim_start().split_once(' ').map_or(fields[7].clone(), |(_, path)| path.to_owned()))
        .filter(|path| !path.trim().is_empty())
        .collect()
}

/// Connects to a unix socket as the user `nobody`. `None` if we are not allowed to change the user.
fn nobody_connects(path: &str) -> Option<bool> {
    let program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let become_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--", "python3", "-c", program, path];
    let can = Command::new("setpriv").args(&become_nobody[..4]).arg("true").stderr(Stdio::null()).status().unwrap().success();
    let status = || Command::new("setpriv").args(become_nobody).stderr(Stdio::null()).status().unwrap();
    can.then(|| status().success())
}

fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn port_of(servers: &larder::embedded::Servers) -> u16 {
    servers.urls().s3_endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

fn has_namespaces() -> bool {
    let isolated = Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).stderr(Stdio::null()).status();
    isolated.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_port_stays_bound_while_the_server_restarts() {
    if !has_namespaces() {
        eprintln!("SKIPPED: this system allows no network namespaces");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let servers = start(directory.path());
    write(&servers).await;
    let port = port_of(&servers);
    let is_ours = || listening(&sockets_of(std::process::id())).contains(&format!("0100007F:{port:04X}"));
    assert!(is_ours());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Another program tries to bind the port all the time.
        let thief = scope.spawn(|| {
            let mut tries = 0;
            while !over.load(Ordering::Relaxed) {
                assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err(), "another program received the port");
                tries += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            tries
        });
        for _ in 0..2 {
            let pid = servers.s3().pid().unwrap();
            servers.s3().kill();
            let began = Instant::now();
            // The connection is accepted and closed, rather than kept waiting.
            let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
            connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            assert_eq!(connection.read(&mut [0; 1]).unwrap_or(0), 0);
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            servers.s3().wait_until_up().unwrap();
            assert!(is_ours() && servers.s3().pid() != Some(pid));
        }
        servers.s3().stop();
        assert!(is_ours());
        servers.s3().start().unwrap();
        over.store(true, Ordering::Relaxed);
        assert!(thief.join().unwrap() > 100);
    });
    assert_eq!(read(&servers).await, KEPT);
    servers.stop();
    assert!(!is_ours());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_s3_port_is_reachable_and_only_with_keys() {
    let directory = tempfile::tempdir().unwrap();
    let servers = start(directory.path());
    write(&servers).await;
    let port = port_of(&servers);
    let family = processes_in(directory.path());
    assert!(family.len() >= 3);

    if has_namespaces() {
        let inodes: HashSet<String> = family.iter().copied().flat_map(sockets_of).collect();
        assert_eq!(listening(&inodes), Vec::<String>::new(), "ports of the servers themselves");
        // This process also contains the relays of the tests that run in parallel.
        let ours = listening(&sockets_of(std::process::id()));
        assert!(ours.contains(&format!("0100007F:{port:04X}")) && ours.iter().all(|port| port.starts_with("0100007F:")), "{ours:?}");
        for internal in (1..5).map(|part| port + part).chain((0..5).map(|part| port + 10_000 + part)) {
            assert!(TcpStream::connect(("127.0.0.1", internal)).is_err(), "port {internal} is open");
        }
    } else {
        eprintln!("SKIPPED: this system allows no network namespaces");
    }

    let mut sockets = HashSet::new();
    for pid in &family {
        sockets.extend(unix_sockets(*pid, &sockets_of(*pid)));
    }
    assert!(sockets.len() >= 4, "Postgres, Redis, and the parts of SeaweedFS: {sockets:?}");
    for socket in &sockets {
        assert!(socket.starts_with('/'), "an abstract socket has no owner: {socket}");
        match nobody_connects(socket) {
            Some(connects) => assert!(!connects, "another user reaches {socket}"),
            None => eprintln!("SKIPPED as another user, which only root may become: {socket}"),
        }
    }

    for target in ["/", "/kept", "/kept/word", "/dir/status", "/col/delete?collection=kept", "/buckets/kept/word"] {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let head = format!("{method} {target} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
            let answer = exchange(TcpStream::connect(("127.0.0.1", port)).unwrap(), &head);
            assert!(answer.split(' ').nth(1).is_some_and(|status| status.starts_with('4')), "{method} {target}: {answer}");
        }
    }
    let redis = servers.urls().redis_url.strip_prefix("redis+unix://").or_else(|| servers.urls().redis_url.strip_prefix("unix://"));
    let path = redis.unwrap().split('?').next().unwrap();
    let redis = UnixStream::connect(path).unwrap();
    redis.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(exchange(redis, "GET word\r\n").starts_with("-NOAUTH"));
    assert_eq!(read(&servers).await, KEPT);
    servers.stop();
}
