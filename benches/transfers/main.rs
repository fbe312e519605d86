//! `make bench-transfers`: Larder's transfers as ratios to the store itself and to nginx in front of it, measured in
//! one run, with their processor time and memory. `make bench-transfers ARGS=--help` lists the options.

#![allow(clippy::print_stdout, reason = "the table is the output of this program")]

mod arguments;
mod binary;
#[path = "../../tests/support/cleanup.rs"]
#[allow(clippy::unwrap_used, reason = "shared with the tests")]
mod cleanup;
mod endpoints;

mod machine;
mod nginx;
mod process;
mod profile;
mod report;
mod rounds;
mod rows;
mod stage;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use arguments::{Arguments, RowName};
use endpoints::Endpoints;
use report::Row;
use stage::Stage;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    // On the main thread: processes started here end with the thread that started them.
    Ok(runtime.block_on(async {
        tokio::select! {
            outcome = bench(arguments) => outcome.unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }),
            // Returning stops the servers and removes the files.
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    }))
}

async fn bench(arguments: Arguments) -> Result<ExitCode> {
    let stage = Stage::set(arguments).await?;
    let mut machine = machine::describe(&stage.arguments.store.title());
    report::print_head(&machine, stage.arguments.rounds);
    let load = machine::load();
    let (mut done, mut failures): (Vec<Row>, Vec<(&str, String)>) = (Vec::new(), Vec::new());
    for name in rows::ALL.into_iter().filter(|row| stage.arguments.wants(*row)) {
        match row(&stage, name).await {
            Ok(row) => {
                report::print(&row);
                done.push(row);
            }
            Err(error) => {
                println!("\n{}: could not be measured: {error:#}", name.as_str());
                failures.push((name.as_str(), format!("{error:#}")));
                if let Err(error) = stage.clear("").await {
                    eprintln!("  what it left cannot be deleted: {error:#}");
                }
            }
        }
    }
    machine["load"] = serde_json::json!([load, machine::load()]);
    println!("\nLoad average before: {load}. More than 0.5 means that the machine was not idle.");
    println!("Written to {}", report::write(stage.arguments.store.as_str(), &machine, &done, &failures)?.display());
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each row has its own instance, so that none inherits the memory of another.
async fn row(stage: &Stage, name: RowName) -> Result<Row> {
    eprintln!("{}:", name.as_str());
    let larder = binary::Larder::start(stage.servers.urls(), stage::BUCKET, &stage.directory.join("larder.log")).await?;
    let resident = process::resident(larder.pid())?;
    eprintln!("  Larder is process {}, {} MiB at rest", larder.pid(), resident >> 20);
    rows::run(name, Endpoints { stage, larder: &larder }).await
}
