//! From the start of the process to the first successful `/readyz`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::binary::launch;
use crate::client::{Connection, request};
use crate::neighbours::free_address;
use crate::process::Running;
use crate::report::{Figure, Target, middle, range};
use crate::stage::Stage;

const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Started {
    pub process: Running,
    pub address: SocketAddr,
    /// In milliseconds.
    pub took: f64,
}

/// `name`: of the log file.
pub async fn start(stage: &Stage, arguments: &[&str], environment: &[(&str, &str)], name: &str) -> Result<Started> {
    let address = free_address()?;
    let bind = address.to_string();
    let environment: Vec<(&str, &str)> = environment.iter().copied().chain([("BIND", bind.as_str())]).collect();
    let ready = request("/readyz", &[]);
    let began = Instant::now();
    let mut process = launch(arguments, &environment, &stage.directory.join(name))?;
    loop {
        if let Ok(mut connection) = Connection::open(address).await
            && connection.ask(&ready).await.is_ok_and(|answer| answer.status == 200)
        {
            return Ok(Started { process, address, took: began.elapsed().as_secs_f64() * 1000.0 });
        }
        process.check().with_context(|| std::fs::read_to_string(stage.directory.join(name)).unwrap_or_default())?;
        if began.elapsed() > TIMEOUT {
            bail!("not ready within {TIMEOUT:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    let environment = stage.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut external = Vec::new();
    for _ in 0..11 {
        external.push(start(stage, &["serve"], &environment, "start.log").await?.took);
    }
    // SeaweedFS is installed where `make run` expects it.
    let cache = std::path::absolute(".cache/seaweedfs/bin")?;
    let path = format!("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:{}", cache.display());
    let (mut first, mut warm) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let directory = stage.directory.join(format!("embedded-{round}")).display().to_string();
        let environment = [("DATA_DIR", directory.as_str()), ("PATH", path.as_str())];
        for boot in 0..3 {
            let took = start(stage, &["serve", "--embedded"], &environment, "embedded.log").await?.took;
            if boot == 0 { first.push(took) } else { warm.push(took) }
        }
    }
    let figure = |what: &str, times: &[f64], unit: f64, most: f64| {
        let times: Vec<f64> = times.iter().map(|ms| ms / unit).collect();
        Figure::new(what, middle(&times), Target::AtMost(most)).note(format!("{}, {} times", range(&times), times.len()))
    };
    Ok(vec![
        figure("with stores that are up: ready after, ms", &external, 1.0, 150.0),
        figure("serve --embedded, warm: ready after, s", &warm, 1000.0, 2.0),
        figure("serve --embedded, first boot: ready after, s", &first, 1000.0, 6.0),
    ])
}
