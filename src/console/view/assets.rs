//! Static files, embedded in the binary and written to a private directory at startup. Their URLs contain a digest of
//! all files, so that browsers can cache them for a year and modules can import each other by name.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

/// The styles of every page in one file, because each request costs a round trip.
const STYLE: &str = concat!(
    include_str!("../../../static/frame.css"),
    include_str!("../../../static/parts.css"),
    include_str!("../../../static/pages.css"),
    // Last, because it overrides the others on narrow screens.
    include_str!("../../../static/narrow.css"),
);

/// Every file of `static/`.
pub const FILES: &[(&str, &[u8])] = &[
    ("app.js", include_bytes!("../../../static/app.js")),
    ("cache.css", include_bytes!("../../../static/cache.css")),
    ("charts.css", include_bytes!("../../../static/charts.css")),
    ("digest.js", include_bytes!("../../../static/digest.js")),
    ("health.css", include_bytes!("../../../static/health.css")),
    ("icon.svg", include_bytes!("../../../static/icon.svg")),
    ("open.svg", include_bytes!("../../../static/open.svg")),
    ("folders.js", include_bytes!("../../../static/folders.js")),
    ("listing.js", include_bytes!("../../../static/listing.js")),
    ("live.js", include_bytes!("../../../static/live.js")),
    ("rows.js", include_bytes!("../../../static/rows.js")),
    ("style.css", STYLE.as_bytes()),
    ("transfer.js", include_bytes!("../../../static/transfer.js")),
    ("upload.js", include_bytes!("../../../static/upload.js")),
];

/// Twelve hexadecimal digits of the SHA-256 of all files.
pub static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
    let mut context = digest::Context::new(&digest::SHA256);
    for (name, content) in FILES {
        context.update(name.as_bytes());
        context.update(content);
    }
    context.finish().as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
});

/// Each file as gzip, in the order of `FILES`. They contain no secrets, so their length reveals nothing (BREACH).
static GZIPPED: LazyLock<Vec<std::io::Result<Vec<u8>>>> = LazyLock::new(|| FILES.iter().map(|(_, content)| gzip(content)).collect());

fn gzip(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

/// The URL of a static file.
pub fn url(name: &str) -> String {
    format!("/static/{}/{name}", *FINGERPRINT)
}

/// Whether this is the path of a static file of this version of Larder.
pub fn is_current(path: &str) -> bool {
    path.strip_prefix("/static/").and_then(|rest| rest.strip_prefix(FINGERPRINT.as_str())).is_some_and(|rest| rest.starts_with('/'))
}

/// The directory that static files are served from. Deleted on drop.
pub struct Assets {
    directory: TempDir,
    /// The user id of this process.
    owner: u32,
}

impl Assets {
    /// Writes every file and its gzip version to a new directory that only this user can change.
    pub fn write() -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("larder-static-").tempdir()?;
        let owner = directory.path().metadata()?.uid();
        let assets = Self { directory, owner };
        assets.fill()?;
        Ok(assets)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes all files again if this one is missing: systemd-tmpfiles and similar programs delete files in `/tmp` that were not
    /// used for some days.
    ///
    /// # Errors
    /// If the directory now belongs to another user, or cannot be written.
    pub fn restore(&self, name: &str) -> std::io::Result<()> {
        match std::fs::DirBuilder::new().mode(0o700).create(self.directory()) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = self.directory().symlink_metadata()?;
        // Another user could create the directory after its deletion, with other scripts.
        if !found.is_dir() || found.uid() != self.owner {
            return Err(std::io::Error::new(ErrorKind::PermissionDenied, "the directory belongs to another user"));
        }
        let exists = |name: &str| self.directory().join(name).exists();
        if exists(name) && exists(&format!("{name}.gz")) { Ok(()) } else { self.fill() }
    }

    /// Replaces every file atomically, because other requests may read them.
    fn fill(&self) -> std::io::Result<()> {
        let replace = |name: &str, content: &[u8]| {
            let mut file = tempfile::NamedTempFile::new_in(self.directory())?;
            file.write_all(content)?;
            file.persist(self.directory().join(name)).map_err(|error| error.error)
        };
        for ((name, content), gzipped) in FILES.iter().zip(GZIPPED.iter()) {
            replace(name, content)?;
            // Without a gzip version, the file is served uncompressed.
            if let Ok(gzipped) = gzipped {
                replace(&format!("{name}.gz"), gzipped)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_files_are_written_again() {
        let assets = Assets::write().unwrap();
        let path = |name: &str| assets.directory().join(name);
        std::fs::remove_file(path("app.js.gz")).unwrap();
        assets.restore("app.js").unwrap();
        assert!(path("app.js.gz").exists());
        std::fs::remove_dir_all(assets.directory()).unwrap();
        assets.restore("style.css").unwrap();
        assert_eq!(std::fs::read(path("style.css")).unwrap(), STYLE.as_bytes());
        assert_eq!(assets.directory().metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let (assets, other) = (Assets::write().unwrap(), tempfile::tempdir().unwrap());
        std::fs::remove_dir_all(assets.directory()).unwrap();
        std::os::unix::fs::symlink(other.path(), assets.directory()).unwrap();
        assert_eq!(assets.restore("app.js").unwrap_err().kind(), ErrorKind::PermissionDenied);
        std::fs::remove_file(assets.directory()).unwrap();
    }
}
