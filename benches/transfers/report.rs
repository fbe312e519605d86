//! The table on standard output, and all measurements as JSON.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::rounds::Series;

#[derive(Serialize)]
pub struct Row {
    pub name: &'static str,
    /// A one-line description of the measurement.
    pub explanation: String,
    pub figures: Vec<Figure>,
    pub series: Vec<Series>,
}

#[derive(Serialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    /// For ratios: minimum and maximum of single rounds.
    pub spread: Option<(f64, f64)>,
    pub at_most: Option<f64>,
    pub reached: Option<bool>,
}

impl Figure {
    pub fn plain(what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, spread: None, at_most: None, reached: None }
    }

    /// For medians of durations.
    pub fn ratio(what: &str, one: &Series, other: &Series) -> Self {
        let pairs = one.samples.iter().zip(&other.samples);
        let mut ratios: Vec<f64> = pairs.map(|(one, other)| one.seconds / other.seconds).collect();
        ratios.sort_by(f64::total_cmp);
        let spread = ratios.first().copied().zip(ratios.last().copied());
        Self { spread, ..Self::plain(what, one.seconds() / other.seconds()) }
    }

    pub fn at_most(self, most: Option<f64>) -> Self {
        Self { at_most: most, reached: most.map(|most| self.value <= most), ..self }
    }

    fn line(&self) -> String {
        let spread = self.spread.map(|(least, most)| format!("{least:.2} – {most:.2}")).unwrap_or_default();
        let target = self.at_most.map(|most| format!("≤ {most}")).unwrap_or_default();
        let verdict = match self.reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        format!("  {:<28}{:>9.2}   {spread:<16}{target:<9}{verdict}", self.what, self.value).trim_end().to_owned()
    }
}

/// The display name of an endpoint.
pub fn title(endpoint: &str) -> &str {
    if endpoint == "larder" { "Larder" } else { endpoint }
}

pub fn print_head(machine: &Value, rounds: u32) {
    let text = |name: &str| machine[name].as_str().unwrap_or_default().to_owned();
    let sha = if machine["sha_instructions"] == true { "with" } else { "without" };
    println!("{} cores of {}, {sha} SHA instructions, Linux {}", machine["cores"], text("cpu"), text("kernel"));
    println!("Larder {}; {}; {}; {}", text("larder"), text("store"), text("nginx"), text("curl"));
    println!(
        "Medians of {rounds} rounds after a warm-up, alternating endpoints. Each ratio is followed by the minimum and maximum of single rounds."
    );
    println!("Targets are for MinIO, the default sizes, and 2 otherwise idle cores.");
}

pub fn print(row: &Row) {
    println!("\n{}: {}.", row.name, row.explanation);
    for figure in &row.figures {
        println!("{}", figure.line());
    }
}

/// Where results are kept: `target/bench`.
pub fn directory() -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Returns the path of the written file.
pub fn write(store: &str, machine: &Value, rows: &[Row], failures: &[(&str, String)]) -> Result<PathBuf> {
    let path = directory()?.join(format!("transfers-{store}.json"));
    let failures: Vec<Value> = failures.iter().map(|(row, why)| json!({ "row": row, "why": why })).collect();
    let report = json!({ "store": store, "machine": machine, "rows": rows, "failures": failures });
    std::fs::write(&path, serde_json::to_string_pretty(&report)?)?;
    Ok(path)
}
