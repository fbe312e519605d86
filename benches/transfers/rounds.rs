//! Rounds: all endpoints alternate, so that slowdowns of the machine affect all of them equally.

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::arguments::RowName;
use crate::endpoints::{Endpoint, Endpoints};
use crate::process;
use crate::profile::Profile;

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    pub seconds: f64,
    /// Processor seconds of the endpoint's process.
    pub cpu: f64,
    /// Peak memory of the endpoint's process in bytes.
    pub peak: u64,
}

/// All measurements of one endpoint, one per round.
#[derive(Debug, Serialize)]
pub struct Series {
    pub endpoint: &'static str,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Copy)]
pub struct Plan {
    pub row: RowName,
    pub rounds: u32,
    /// Whether to run a warm-up round that does not count.
    pub warm_up: bool,
    /// Bytes stored by one measurement.
    pub disk: u64,
}

/// `one` does the work once, with a unique name; `after` checks and removes the result, unmeasured.
pub async fn measure(
    endpoints: Endpoints<'_>,
    through: &[Endpoint],
    plan: Plan,
    one: impl AsyncFn(Endpoint, &str) -> Result<()>,
    after: impl AsyncFn(&str) -> Result<()>,
) -> Result<Vec<Series>> {
    let mut series: Vec<Series> = through.iter().map(|endpoint| Series { endpoint: endpoint.as_str(), samples: Vec::new() }).collect();
    let first = u32::from(!plan.warm_up);
    for round in first..=plan.rounds {
        for (endpoint, series) in through.iter().zip(&mut series) {
            let name = format!("{}-{round}", endpoint.as_str());
            endpoints.stage.settle(plan.disk)?;
            let sample = timed(endpoints.pid(*endpoint), one(*endpoint, &name)).await.with_context(|| format!("round {round}"))?;
            after(&name).await?;
            eprintln!("  round {round}, {}: {:.2} s, {:.2} CPU s", endpoint.as_str(), sample.seconds, sample.cpu);
            if round > 0 {
                series.samples.push(sample);
            }
        }
    }
    if endpoints.stage.arguments.profile {
        let profile = Profile::start(plan.row.as_str(), endpoints.larder.pid())?;
        one(Endpoint::Larder, "profile").await?;
        profile.finish()?;
        after("profile").await?;
    }
    Ok(series)
}

async fn timed(pid: Option<u32>, work: impl Future<Output = Result<()>>) -> Result<Sample> {
    let before = match pid {
        Some(pid) => {
            process::reset_peak(pid)?;
            process::cpu(pid)?
        }
        None => 0.0,
    };
    let began = Instant::now();
    work.await?;
    let seconds = began.elapsed().as_secs_f64();
    let (cpu, peak) = match pid {
        Some(pid) => (process::cpu(pid)? - before, process::peak(pid)?),
        None => (0.0, 0),
    };
    Ok(Sample { seconds, cpu, peak })
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

impl Series {
    pub fn seconds(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.seconds))
    }

    pub fn cpu(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.cpu))
    }

    /// Over all rounds.
    pub fn peak(&self) -> u64 {
        self.samples.iter().map(|sample| sample.peak).max().unwrap_or_default()
    }
}
