//! `/cache`: Redis metrics as tiles and charts.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::tiles::{self, Tile};
use super::{Tab, Tabs, cost_text};
use crate::console::http::error::Result;
use crate::console::http::query::Query;
use crate::console::http::session::Viewer;
use crate::console::pages::ok;
use crate::console::view::charts::{self, Area};
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, ranges, units};
use crate::domain::Context;
use crate::domain::keyspace::Cost;
use crate::domain::redis_metrics::{self, Point, PoolUsage, Range, RedisMetrics};

#[derive(Template)]
#[template(path = "pages/cache/metrics.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub range: Range,
    pub server: String,
    pub main: Vec<Tile>,
    pub more: Vec<Tile>,
    /// `None` while Postgres, which stores the history, is unavailable.
    pub charts: Option<Vec<Chart>>,
    pub cost: Cost,
}

pub struct Chart {
    pub title: &'static str,
    pub now: String,
    pub note: String,
    /// `None` if there are too few values for a line.
    pub area: Option<Area>,
    /// Labels at the top, in the middle and at the bottom.
    pub levels: [String; 3],
    pub times: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ShowQuery {
    range: String,
}

impl ShowPage {
    pub fn of(layout: Layout, metrics: &RedisMetrics, usage: [PoolUsage; 2], cost: Cost) -> Self {
        Self {
            tabs: Tabs::of(&layout, Some(Tab::Metrics)),
            layout,
            range: metrics.range,
            server: tiles::server(&metrics.info),
            main: tiles::main(metrics),
            more: tiles::more(metrics, usage),
            charts: metrics.points.as_deref().map(|points| charts(metrics, points)),
            cost,
        }
    }

    fn ranges(&self) -> [(&'static str, String, bool); 3] {
        ranges::links("/cache", self.range)
    }

    fn cost(&self) -> String {
        cost_text(self.cost)
    }
}

fn charts(metrics: &RedisMetrics, points: &[Point]) -> Vec<Chart> {
    let times = ranges::axis_labels(metrics.range);
    let chart = |title, values: Vec<Option<f64>>, floor: f64, least_top: f64, format_value: &dyn Fn(f64) -> String, note: String| {
        let known = || values.iter().copied().flatten();
        let top = known().fold(least_top, f64::max);
        let last = known().next_back();
        Chart {
            title,
            now: last.map_or_else(|| "unknown".to_owned(), format_value),
            note,
            area: charts::area(&values, floor, top),
            levels: [top, f64::midpoint(top, floor), floor].map(format_value),
            times: times.clone(),
        }
    };
    let ratios: Vec<Option<f64>> = points.iter().map(|point| point.hit_ratio).collect();
    let lowest = ratios.iter().copied().flatten().fold(f64::INFINITY, f64::min);
    let five_minutes = metrics.five_minutes.hit_ratio().map_or_else(|| "no lookups".to_owned(), percent);
    let ratio_note = if lowest.is_finite() { format!("lowest {}", percent(lowest)) } else { "no lookups".to_owned() };
    // A high hit ratio is drawn on a scale from 80 %, so that changes are visible.
    let floor = if lowest >= 80.0 && lowest.is_finite() { 80.0 } else { 0.0 };
    let memory = points.iter().map(|point| point.memory.map(|bytes| bytes as f64)).collect();
    let limit = metrics.info.number("maxmemory").filter(|limit| *limit > 0);
    let memory_note = limit.map_or_else(|| "no limit set".to_owned(), |limit| format!("evictions start at {}", units::memory_text(limit)));
    let operations: Vec<Option<f64>> = points.iter().map(|point| point.operations).collect();
    let peak = operations.iter().copied().flatten().fold(0.0, f64::max);
    let memory_text = |bytes: f64| units::memory_text(bytes as u64);
    let operations_text = |rate: f64| units::count_text(rate.round() as u64);
    vec![
        // The same value as in the tile: the last step of the chart covers another time.
        Chart { now: format!("{five_minutes} in 5 minutes"), ..chart("Hit ratio", ratios, floor, 100.0, &percent, ratio_note) },
        chart("Memory", memory, 0.0, limit.unwrap_or(1024) as f64, &memory_text, memory_note),
        chart("Operations per second", operations, 0.0, 1.0, &operations_text, format!("highest {}", operations_text(peak))),
    ]
}

pub(super) fn percent(value: f64) -> String {
    if value >= 99.95 { format!("100{}%", units::THIN_SPACE) } else { format!("{value:.1}{}%", units::THIN_SPACE) }
}

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: ShowQuery = query.read()?;
    let range = ranges::parse(&query.range);
    let browse = ctx.redis.browse();
    let metrics = redis_metrics::load(&ctx, &browse, range).await?;
    let usage = [ctx.redis.usage(), ctx.redis.browse_usage()];
    ok(&ShowPage::of(viewer.layout("Cache", Section::Cache), &metrics, usage, browse.cost()))
}
