//! Statistics of this Larder process.

use chrono::{DateTime, Utc};

use crate::clock;
use crate::console::view::units;
use crate::domain::Context;
use crate::meter::{self, Bound, Load, Meter};

#[derive(Clone, Debug)]
pub struct ProcessStats {
    pub uptime: String,
    pub started_at: DateTime<Utc>,
    /// In bytes.
    pub memory: Option<u64>,
    pub connections: u64,
    pub uploads: usize,
    pub load: Load,
    /// Larder instances on the same database.
    pub consoles: Option<usize>,
    /// Applied in the database, and known to this version.
    pub migrations: Option<(usize, usize)>,
    pub warnings: Vec<String>,
}

impl ProcessStats {
    pub fn of(ctx: &Context, meter: &Meter, signed_in: bool) -> Self {
        let started_at = ctx.health.started_at();
        Self {
            uptime: units::duration_text(clock::now().signed_duration_since(started_at).num_seconds()),
            started_at,
            memory: if signed_in { meter::resident_memory() } else { None },
            connections: meter.connections(),
            uploads: ctx.upload_memory.in_progress(),
            load: meter.load(),
            consoles: ctx.health.consoles(),
            migrations: ctx.health.migrations().map(|ran| (ran, crate::domain::health::known_migrations())),
            warnings: if signed_in { ctx.config.warnings() } else { Vec::new() },
        }
    }

    pub fn memory(&self) -> (String, &'static str) {
        self.memory.map_or_else(|| ("–".to_owned(), ""), units::memory_parts)
    }

    pub fn per_second(&self) -> String {
        if self.load.per_second < 10.0 { format!("{:.1}", self.load.per_second) } else { format!("{:.0}", self.load.per_second) }
    }

    /// In milliseconds.
    pub fn page_p95(&self) -> String {
        match self.load.page_p95 {
            None => "–".to_owned(),
            Some(Bound::AtMost(ms)) => format!("≤ {ms}"),
            Some(Bound::MoreThan(ms)) => format!("> {ms}"),
        }
    }

    pub fn migrations(&self) -> String {
        match self.migrations {
            None => "unknown".to_owned(),
            Some((ran, known)) if ran == known => format!("all {known}"),
            Some((ran, known)) if ran < known => format!("{ran} of {known}"),
            Some((ran, known)) => format!("{ran}, applied by a newer version; this version has {known}"),
        }
    }
}
