//! The rows: what each measures, and its targets.

mod files;
mod small;

use anyhow::Result;

use crate::arguments::RowName;
use crate::endpoints::{Endpoint, Endpoints};
use crate::report::{Figure, Row};
use crate::rounds::Series;
use crate::{machine, report};

pub const ALL: [RowName; 6] = [RowName::Upload, RowName::Download, RowName::Small, RowName::Eight, RowName::Hundred, RowName::Large];

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub async fn run(name: RowName, endpoints: Endpoints<'_>) -> Result<Row> {
    let (explanation, bytes, series) = match name {
        RowName::Upload => files::upload(endpoints).await?,
        RowName::Eight => files::eight(endpoints).await?,
        RowName::Large => files::large(endpoints).await?,
        RowName::Download => files::download(endpoints).await?,
        RowName::Hundred => files::hundred(endpoints).await?,
        RowName::Small => small::run(endpoints).await?,
    };
    let mut figures = ratios(name, &series);
    figures.extend(usage(name, &series, bytes));
    Ok(Row { name: name.as_str(), explanation, figures, series })
}

/// Medians of each endpoint, and their ratios to the store itself.
fn ratios(name: RowName, series: &[Series]) -> Vec<Figure> {
    let find = |endpoint: Endpoint| series.iter().find(|series| series.endpoint == endpoint.as_str());
    let mut figures: Vec<Figure> =
        series.iter().map(|series| Figure::plain(format!("{}: time, s", report::title(series.endpoint)), series.seconds())).collect();
    let (store, nginx, larder) = (find(Endpoint::Store), find(Endpoint::Nginx), find(Endpoint::Larder));
    if let (Some(nginx), Some(store)) = (nginx, store) {
        figures.push(Figure::ratio("nginx ÷ store", nginx, store));
    }
    if let (Some(larder), Some(store)) = (larder, store) {
        let most = match name {
            RowName::Upload => Some(1.0),
            RowName::Download => Some(1.05),
            RowName::Small => Some(1.3),
            _ => None,
        };
        figures.push(Figure::ratio("Larder ÷ store", larder, store).at_most(most));
    }
    if let (Some(larder), Some(nginx)) = (larder, nginx) {
        let most = (name == RowName::Upload).then_some(1.0);
        figures.push(Figure::ratio("Larder ÷ nginx", larder, nginx).at_most(most));
    }
    figures
}

/// The cost of the endpoints themselves.
fn usage(name: RowName, series: &[Series], bytes: u64) -> Vec<Figure> {
    let mut figures = Vec::new();
    for series in series.iter().filter(|series| series.endpoint != Endpoint::Store.as_str()) {
        let ours = series.endpoint == Endpoint::Larder.as_str();
        let title = report::title(series.endpoint);
        let most = match name {
            RowName::Upload if machine::has_sha() => Some(2.0),
            RowName::Download => Some(0.5),
            _ => None,
        };
        let (unit, cpu) = match name {
            RowName::Small => ("CPU, s", series.cpu()),
            _ => ("CPU, s/GiB", series.cpu() * GIB as f64 / bytes as f64),
        };
        figures.push(Figure::plain(format!("{title}: {unit}"), cpu).at_most(most.filter(|_| ours)));
        if ours {
            let most = match name {
                RowName::Upload => Some(96.0),
                RowName::Large => Some(256.0),
                RowName::Hundred => Some(128.0),
                _ => None,
            };
            figures.push(Figure::plain(format!("{title}: peak memory, MiB"), series.peak() as f64 / MIB as f64).at_most(most));
        }
    }
    figures
}
