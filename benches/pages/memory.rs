//! Larder's memory while it receives no requests and all five services are checked.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::client::{Connection, request};
use crate::process;
use crate::report::{Figure, Target};
use crate::stage::Stage;
use crate::start::start;

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub async fn measure(stage: &Stage, idle: u64) -> Result<Vec<Figure>> {
    let environment = stage.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let larder = start(stage, &["serve"], &environment, "memory.log").await?;
    let pid = larder.process.pid();
    tokio::time::sleep(Duration::from_secs(idle)).await;
    let (resident, peak) = (process::resident(pid)?, process::peak(pid)?);
    let mut connection = Connection::open(larder.address).await?;
    let metrics = connection.ask(&request("/metrics", &[])).await?.text();
    let checked = metrics.lines().filter(|line| line.starts_with("larder_probe_success") && line.ends_with(" 1")).count();
    ensure!(checked == 5, "{checked} of 5 services are well");
    Ok(vec![
        Figure::new(format!("idle for {idle} s, MiB"), mebibytes(resident), Target::AtMost(30.0)),
        Figure::new("peak since startup, MiB", mebibytes(peak), Target::None),
    ])
}

/// The memory of an instance that has served the previous sections.
pub fn after(pid: u32) -> Result<Vec<Figure>> {
    Ok(vec![
        Figure::new("after a sign-in and every page once, MiB", mebibytes(process::resident(pid)?), Target::None),
        Figure::new("peak since startup, MiB", mebibytes(process::peak(pid)?), Target::None),
    ])
}
