//! `make bench-cache`: the cost of browsing a Redis with ten million keys for Redis and Larder, the cost of the
//! metrics page, and a cached value compared with a bare GET, in one run.

#![allow(clippy::print_stdout, reason = "the table is the output of this program")]

#[path = "../transfers/binary.rs"]
#[allow(dead_code, reason = "shared with the transfers")]
mod binary;
#[path = "../../tests/support/cleanup.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "shared with the tests")]
mod cleanup;
mod hits;
mod large;
mod pages;
#[path = "../transfers/process.rs"]
#[allow(dead_code, reason = "shared with the transfers")]
mod process;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use larder::embedded::{Options, S3Kind, Servers};

use binary::Larder;
use cleanup::Cleanup;
use large::Large;

/// The cost of browsing a large Redis, and of a cached value.
#[derive(Parser)]
#[command(name = "make bench-cache")]
struct Arguments {
    /// Number of keys in the large Redis
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// One row of the table.
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub at_most: Option<f64>,
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, at_most: Option<f64>) -> Self {
        Self { what: what.into(), value, at_most }
    }

    fn print(&self) {
        let target = self.at_most.map(|most| format!("≤ {most}")).unwrap_or_default();
        let verdict = match self.at_most {
            Some(most) if self.value <= most => "reached",
            Some(_) => "MISSED",
            None => "",
        };
        println!("  {:<58}{:>10.2}  {target:<8}{verdict}", self.what, self.value);
    }
}

/// The value below which this percentage of values lie.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    // On the main thread: processes started here end with the thread that started them.
    runtime.block_on(bench(&arguments)).map(|()| ExitCode::SUCCESS)
}

async fn bench(arguments: &Arguments) -> Result<()> {
    let directory = cleanup::directory("bench-cache");
    std::fs::create_dir_all(&directory)?;
    let _cleanup = Cleanup::start(None, [directory.clone()]);
    let servers = Servers::start(&directory.join("servers"), Options { durable: true, s3: S3Kind::SeaweedFs })?;
    println!("A cached value compared with a bare GET over the same pool, medians of 9 rounds of 5,000:");
    hits::measure(servers.urls()).await?.iter().for_each(Figure::print);

    let large = Large::start(&directory, arguments.keys).await?;
    let larder = Larder::start(&large.urls(servers.urls()), "bench", &directory.join("larder.log")).await?;
    println!("\nSearching {} keys, each page 20 times in turn:", arguments.keys);
    pages::searches(&larder, &large).await?.iter().for_each(Figure::print);
    println!("\nThe metrics page, 200 times, with 10,000 operations per second by other clients:");
    pages::figures(&larder, &large).await?.iter().for_each(Figure::print);
    println!("\nTargets are for 2 cores that do nothing else.");
    Ok(())
}
