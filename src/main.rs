//! The program: reads `.env`, then does what the command line says.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before any thread exists, because it changes the environment.
    if Path::new(".env").is_file()
        && let Err(error) = dotenvy::from_path(".env")
    {
        eprintln!("error: .env cannot be read: {error}");
        return ExitCode::FAILURE;
    }
    larder::cli::start_logging();
    run()
}

/// A multi-thread runtime: the migration harness needs one.
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
