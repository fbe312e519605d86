//! The program: reads `.env`, then runs the command line.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Must run before any thread exists, because it changes the environment.
    if let Err(error) = larder::config::env_file::load(Path::new(".env")) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    larder::cli::start_logging();
    run()
}

/// A multi-threaded runtime: the migration harness requires one.
#[tokio::main]
async fn run() -> ExitCode {
    match larder::cli::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
