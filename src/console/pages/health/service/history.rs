//! The charts of a service: how fast it answered, and when it did not.

use crate::console::charts::{self, Area};
use crate::console::pages::health::Card;
use crate::console::{ranges, units};
use crate::domain::health::{Seconds, Step};
use crate::domain::vitals::Range;

/// A range of time in equal steps.
pub struct History {
    pub area: Option<Area>,
    /// At the top, in the middle, at the bottom.
    pub levels: [String; 3],
    pub now: String,
    pub slowest: String,
    pub times: Vec<String>,
    /// Left edge and tone of each step.
    pub bars: Vec<(String, &'static str)>,
    pub bar_width: String,
    pub uptime: Seconds,
}

impl History {
    pub fn of(steps: &[Option<Step>], range: Range) -> Self {
        let means: Vec<Option<f64>> = steps.iter().map(|step| step.and_then(|step| step.mean)).collect();
        let top = means.iter().copied().flatten().fold(1.0, f64::max);
        let most = steps.iter().filter_map(|step| step.and_then(|step| step.most)).fold(0.0, f64::max);
        let mut uptime = Seconds::default();
        for step in steps.iter().flatten() {
            uptime.up += step.seconds.up;
            uptime.down += step.seconds.down;
        }
        let width = 300.0 / steps.len().max(1) as f64;
        let bars = steps.iter().enumerate().filter_map(|(at, step)| {
            let seconds = step.as_ref()?.seconds;
            let tone = match seconds.down {
                ..=0.0 => "ok",
                down if down * 2.0 < seconds.up => "warn",
                _ => "bad",
            };
            Some((format!("{:.2}", at as f64 * width), tone))
        });
        Self {
            area: charts::area(&means, 0.0, top),
            levels: [top, top / 2.0, 0.0].map(milliseconds),
            now: means.iter().copied().flatten().next_back().map_or_else(|| "not known".to_owned(), milliseconds),
            slowest: if most > 0.0 { milliseconds(most) } else { "not known".to_owned() },
            times: ranges::times(range),
            bars: bars.collect(),
            bar_width: format!("{:.2}", (width * 0.8).max(0.6)),
            uptime,
        }
    }

    pub fn percent(&self) -> String {
        Card::percent(&self.uptime)
    }
}

fn milliseconds(ms: f64) -> String {
    let figure = if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") };
    format!("{figure}{}ms", units::THIN)
}
