//! `make bench-pages`: the health page while all stores are frozen, the time until a failure is shown, the startup
//! time, memory, page weight, and the overview compared with a bare page.

#![allow(clippy::print_stdout, reason = "the table is the output of this program")]

#[path = "../transfers/binary.rs"]
#[allow(dead_code, reason = "shared with the transfers")]
mod binary;
#[path = "../../tests/support/cleanup.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "shared with the tests")]
mod cleanup;
mod client;
mod frozen;
#[path = "../transfers/machine.rs"]
#[allow(dead_code, reason = "shared with the transfers")]
mod machine;
mod memory;
mod neighbours;
mod notice;
mod overview;
#[path = "../transfers/process.rs"]
#[allow(dead_code, reason = "shared with the transfers")]
mod process;
mod report;
mod stage;
mod start;
mod weight;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use stage::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    Start,
    Memory,
    Weight,
    Overview,
    Frozen,
    Notice,
}

/// The cost of Larder's pages, and its behaviour when stores fail.
#[derive(Parser)]
#[command(name = "make bench-pages")]
struct Arguments {
    /// Only these, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Idle seconds before memory is measured
    #[arg(long, default_value_t = 75)]
    idle: u64,
    /// How often each service is killed and frozen
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Run as this neighbour process
    #[arg(long, hide = true, requires = "at")]
    neighbour: Option<String>,
    #[arg(long, hide = true)]
    at: Option<SocketAddr>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(what) = &arguments.neighbour {
        let at = arguments.at.context("--at is missing")?;
        return runtime.block_on(neighbours::serve(what, at)).map(|()| ExitCode::SUCCESS);
    }
    // On the main thread: processes started here end with the thread that started them.
    Ok(runtime.block_on(async {
        tokio::select! {
            outcome = bench(&arguments) => outcome.unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }),
            // Returning stops the servers and removes the files.
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    }))
}

async fn bench(arguments: &Arguments) -> Result<ExitCode> {
    let store = format!("SeaweedFS {}", machine::pinned("SEAWEEDFS_VERSION"));
    let machine = machine::describe(&store);
    let text = |name: &str| machine[name].as_str().unwrap_or_default();
    println!("{} cores of {}, Linux {}; Larder {}; {store}", machine["cores"], text("cpu"), text("kernel"), text("larder"));
    println!("Values measured several times are followed by their minimum and maximum. Targets are for 2 otherwise idle cores.");
    println!("Load average before: {}. More than 0.5 means that the machine was not idle.", machine::load());
    let stage = Stage::set().await?;
    let mut failed = false;
    for section in Section::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(section) {
            continue;
        }
        let (title, figures) = match section {
            Section::Start => ("From startup to the first 200 of /readyz", start::measure(&stage).await),
            Section::Memory => ("Memory with all five checks and thirty days of health", memory::measure(&stage, arguments.idle).await),
            Section::Weight => ("The first visit of each page, bytes transferred", weight::measure(&stage).await),
            Section::Overview => ("Overview compared with a bare page, 16 connections in a closed loop", overview::measure(&stage).await),
            Section::Frozen => ("All services frozen, 50 clients in a closed loop", frozen::measure(&stage).await),
            Section::Notice => ("A service killed or frozen, and its recovery", notice::measure(&stage, arguments.rounds).await),
        };
        println!("\n{title} (load {}):", machine::load());
        match figures {
            Ok(figures) => figures.iter().for_each(report::Figure::print),
            Err(error) => {
                println!("  could not be measured: {error:#}");
                failed = true;
                stage.thaw()?;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
