//! The command line: what to measure.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::machine;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Minio,
    Weed,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Weed => "weed",
        }
    }

    /// Name and version.
    pub fn title(self) -> String {
        match self {
            Self::Minio => format!("MinIO {}", machine::pinned("MINIO_VERSION")),
            Self::Weed => format!("SeaweedFS {}", machine::pinned("SEAWEEDFS_VERSION")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RowName {
    Upload,
    Download,
    Small,
    Eight,
    Hundred,
    Large,
}

impl RowName {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Small => "small",
            Self::Eight => "eight",
            Self::Hundred => "hundred",
            Self::Large => "large",
        }
    }
}

/// Larder's transfers, as ratios to the store itself and to nginx in front of it.
#[derive(Parser)]
#[command(name = "make bench-transfers")]
pub struct Arguments {
    /// The store to measure
    #[arg(long, value_enum, default_value = "minio")]
    pub store: Kind,
    /// Only these rows, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<RowName>,
    /// Measured rounds per ratio row, after one warm-up round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Size of the files of upload, download and eight
    #[arg(long, default_value = "1GiB", value_parser = bytes)]
    pub size: u64,
    /// Files of the row small, at most 10,000
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub files: u32,
    /// Size of the object of the row hundred
    #[arg(long, default_value = "64MiB", value_parser = bytes)]
    pub hundred: u64,
    /// Size of each of the 8 files of the row large
    #[arg(long, default_value = "4GiB", value_parser = bytes)]
    pub large: u64,
    /// Repeat the Larder part of each row under `perf`
    #[arg(long)]
    pub profile: bool,
    /// Directory for servers and files; below target/tmp if not given
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    pub fn wants(&self, row: RowName) -> bool {
        self.only.is_empty() || self.only.contains(&row)
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("", 0)];
    let parsed = units.iter().find_map(|(unit, shift)| text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(1 << shift));
    parsed.filter(|bytes| *bytes > 0).ok_or_else(|| "write 256MiB or 1GiB".to_owned())
}
