//! The status of one service, as shown on every page.

use chrono::{DateTime, Utc};

use super::units;
use crate::clock;
use crate::domain::health::{Service, Snapshot, State};

pub struct ServiceStatus {
    pub service: Service,
    pub state: State,
    pub unstable: bool,
    pub latency_ms: Option<f64>,
    pub since: Option<DateTime<Utc>>,
}

impl ServiceStatus {
    pub fn of(snapshot: &Snapshot) -> Self {
        let Snapshot { service, state, unstable, latency_ms, since, .. } = *snapshot;
        Self { service, state, unstable, latency_ms, since }
    }

    /// Worst first.
    pub fn rank(&self) -> u8 {
        match self.state {
            State::Down => 0,
            State::Stale => 1,
            State::Failing => 2,
            State::Degraded => 3,
            State::Unknown => 4,
            State::Up => 5,
            State::NotConfigured => 6,
        }
    }

    fn is_unstable(&self) -> bool {
        self.unstable && matches!(self.state, State::Up | State::Failing)
    }

    pub fn label(&self) -> &'static str {
        match self.state {
            _ if self.is_unstable() => "Unstable",
            State::Up => "Up",
            State::Degraded => "Degraded",
            State::Failing => "Failing",
            State::Down => "Down",
            State::Stale => "Stale",
            State::Unknown => "Checking",
            State::NotConfigured => "Not configured",
        }
    }

    pub fn icon(&self) -> &'static str {
        match self.state {
            _ if self.is_unstable() => "warn",
            State::Up => "ok",
            State::Down => "down",
            State::Failing | State::Degraded | State::Stale => "warn",
            State::Unknown => "time",
            State::NotConfigured => "off",
        }
    }

    pub fn badge_icon(&self) -> &'static str {
        match self.state {
            _ if self.is_unstable() => "unstable",
            State::Up => "check",
            State::Down => "close",
            State::Failing | State::Degraded => "warn",
            State::Stale | State::Unknown => "time",
            State::NotConfigured => "minus",
        }
    }

    pub fn tone(&self) -> &'static str {
        match self.state {
            _ if self.is_unstable() => "warn",
            State::Up => "ok",
            State::Down => "bad",
            State::Failing | State::Degraded => "warn",
            State::Stale | State::Unknown | State::NotConfigured => "off",
        }
    }

    /// The time since the service went down.
    pub fn down_for(&self) -> Option<String> {
        let since = self.since.filter(|_| self.state == State::Down)?;
        Some(units::duration_words(clock::now().signed_duration_since(since).num_seconds()))
    }
}
