//! Cleans up after a test process however it ends: a shell that waits for its standard input to close.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const TIDY: &str = r#"
cat >/dev/null
[ "$1" = - ] || kill -s KILL -- "-$1" 2>/dev/null
shift
tries=0
until rm -rf -- "$@" 2>/dev/null || [ "$tries" -gt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
"#;

/// On drop, or when this process has ended: kills the process group and removes the paths.
pub struct Cleanup(Child);

impl Cleanup {
    pub fn start(group: Option<u32>, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let group = group.map_or_else(|| "-".to_owned(), |group| group.to_string());
        let mut command = Command::new("sh");
        command.args(["-c", TIDY, "sh", &group]).args(paths).process_group(0);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// A new directory below Cargo's test directory. Directories left behind by earlier processes are removed here.
pub fn directory(kind: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
    let path = root.join(format!("{kind}-{}-{}", std::process::id(), uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&path).unwrap();
    path
}
