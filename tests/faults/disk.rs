//! Full disks: the store's, and the one for temporary files.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use larder::domain::actor::Role;

use super::checker::Checker;
use super::child::{LEASE, World, free_port};
use super::ledger::Ledger;
use super::random::Random;
use super::sender::Sender;
use crate::support::{Set, TestApp, eventually_within, scratch};

const MIB: usize = 1 << 20;

/// A small disk, unmounted when this is dropped or the tests end.
struct Disk {
    path: PathBuf,
    keeper: std::process::Child,
}

impl Disk {
    /// `None`, with a message, if this machine does not permit mounting.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size},mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "larder-faults"]).arg(path).output().unwrap();
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
            eprintln!("SKIPPED: a full disk needs a disk of its own, and none can be mounted here: {}", why.trim());
            return None;
        }
        let mut keeper = Command::new("sh");
        keeper.args(["-c", "cat >/dev/null; umount -l \"$1\"", "sh"]).arg(path).process_group(0).stdin(Stdio::piped());
        Some(Self { path: path.to_owned(), keeper: keeper.spawn().unwrap() })
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.path).status().unwrap().success());
    }

    /// Writes until the disk is full.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path.join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 1024]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_reported_and_used_again_when_space_is_free() {
    let mut random = Random::announced("full");
    let directory = scratch("servers");
    let Some(mounted) = Disk::mount(&directory.join("s3"), "96m") else { return };
    let set = Set::own_in(directory).await;
    let app = TestApp::on(set, |config| config.upload.lease = LEASE).await;
    let sender = Sender::sign_in(&app.base, &app.bucket, &app.new_user(Role::Editor).await, Ledger::default()).await;
    let mut refused = None;
    for round in 0..40 {
        let body = random.bytes(9 * MIB);
        let answer = sender.file(&format!("file-{round}"), &body, false).await.unwrap();
        if answer.status != 201 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the disk becomes full");
    eprintln!("{}", refused.detail());
    assert!(refused.status == 503 && refused.retry_after.is_some(), "{refused:?}");
    // SeaweedFS often reports the cause only in its log.
    let says_only_that = Set::is_seaweedfs() && refused.detail().contains("The store returned an internal error");
    assert!(says_only_that || refused.detail().contains("The store has no space left"), "{refused:?}");
    let small = random.bytes(3 * MIB);
    mounted.grow("1g");
    eventually_within(Duration::from_secs(90), "there is free space again", async || {
        sender.file("after", &small, true).await.is_ok_and(|answer| answer.status == 201)
    })
    .await;
    Checker::of(&app).await.check(&sender.ledger).await;
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_need_no_temporary_files_and_a_start_without_space_reports_it() {
    let mut random = Random::announced("temporary");
    let directory = scratch("temporary");
    let Some(disk) = Disk::mount(&directory.join("tmp"), "4m") else { return };
    let path = disk.path.display().to_string();
    let world = World::new(Set::shared().await).await;
    let larder = world.start(free_port(), &[("TMPDIR", &path)]).await;
    disk.fill();
    let sender = world.sender(&larder).await;
    for (name, size) in [("small", 1_000), ("middle", MIB), ("large", 20 * MIB)] {
        let body = random.bytes(size);
        assert_eq!(sender.file(name, &body, false).await.unwrap().status, 201, "{name}");
    }
    for directory in [path.as_str(), "/nowhere/at/all"] {
        let mut failed = world.launch(free_port(), &[("TMPDIR", directory)]);
        assert!(!failed.ended(Duration::from_secs(20)).await.success());
        let log = failed.log();
        assert!(log.contains("static files cannot be written to") && log.contains(directory), "{log}");
    }
    world.checker().await.check(&world.ledger).await;
}
