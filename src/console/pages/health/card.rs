//! The details of one service.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock;
use crate::console::view::charts::{self, Sparkline};
use crate::console::view::service_status::ServiceStatus;
use crate::console::view::units;
use crate::domain::health::{Day, Detail, ErrorClass, Incident, LatencyStep, Seconds, Service, Snapshot, State, Uptime};

/// A name and a value; `warn` if the value is above its threshold.
pub struct Fact {
    pub name: &'static str,
    pub value: String,
    pub warn: Option<String>,
}

fn fact(name: &'static str, value: String) -> Fact {
    Fact { name, value, warn: None }
}

/// The uptime of one day.
pub struct DayBar {
    /// `ok`, `warn`, `bad`, or `none` without checks.
    pub tone: &'static str,
    pub label: String,
}

/// An incident with its duration so far.
pub struct IncidentRow {
    pub incident: Incident,
    pub duration: String,
}

impl IncidentRow {
    pub fn of(incident: Incident) -> Self {
        Self { duration: units::duration_text(incident.duration(clock::now()).num_seconds()), incident }
    }
}

/// Only signed-in users see more than the state.
pub struct Card {
    pub status: ServiceStatus,
    pub snapshot: Snapshot,
    pub spark: Option<Sparkline>,
    pub uptime: Uptime,
    pub bars: Vec<DayBar>,
    pub last_incident: Option<Incident>,
}

/// A day with less downtime is yellow, with more red.
const OUTAGE_SECONDS: f64 = 60.0;

impl Card {
    pub fn of(snapshot: Snapshot, uptime: Uptime, incidents: &[Incident]) -> Self {
        let mut steps: Vec<charts::Sample> = snapshot
            .hour
            .steps
            .iter()
            .map(|step| match step {
                LatencyStep::Unknown => charts::Sample::Unknown,
                LatencyStep::Failed => charts::Sample::NoAnswer,
                LatencyStep::Latency(ms) => charts::Sample::Value(*ms),
            })
            .collect();
        // The current minute may have started with a successful check.
        if let (State::Down, Some(now)) = (snapshot.state, steps.last_mut()) {
            *now = charts::Sample::NoAnswer;
        }
        Self {
            status: ServiceStatus::of(&snapshot),
            spark: charts::spark(&steps),
            bars: uptime.days.iter().map(day_bar).collect(),
            last_incident: incidents.iter().find(|incident| incident.service == snapshot.service && incident.ended_at.is_some()).cloned(),
            uptime,
            snapshot,
        }
    }

    pub fn is_down(&self) -> bool {
        self.status.state == State::Down
    }

    /// A latency without its unit.
    pub fn milliseconds(ms: &Option<f64>) -> String {
        ms.map(|ms| if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }).unwrap_or_else(|| "–".to_owned())
    }

    /// The start of the chart.
    pub fn from(&self) -> DateTime<Utc> {
        clock::now() - TimeDelta::hours(1)
    }

    /// The reason why the service is not simply up.
    pub fn note(&self) -> Option<String> {
        match self.status.state {
            State::Degraded => self.snapshot.problem.as_ref().map(|failure| failure.why.clone()),
            State::Failing => {
                let (_, failure) = self.snapshot.last_failure.as_ref()?;
                Some(format!(
                    "{} {} in a row; the service counts as down after {}.",
                    failure.why,
                    self.failed_checks(),
                    crate::domain::health::FAILURES
                ))
            }
            State::Stale => Some("The check has not finished for a while, so these results are outdated.".to_owned()),
            State::Up if self.status.unstable => {
                Some("The service changed between up and down several times in the last minutes.".to_owned())
            }
            _ => None,
        }
    }

    /// Advice for the operator.
    pub fn advice(&self) -> String {
        let (address, credentials) = match self.status.service {
            Service::Postgres => ("DATABASE_URL", "the user and the password in DATABASE_URL"),
            Service::Redis => ("REDIS_URL", "REDIS_PASSWORD, or the user and the password in REDIS_URL"),
            Service::S3 => ("S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the permissions of the key"),
            Service::Qdrant => ("QDRANT_URL", "QDRANT_API_KEY"),
            Service::LiteLlm => ("LITELLM_URL", "LITELLM_MASTER_KEY"),
        };
        match self.snapshot.last_failure.as_ref().map(|(_, failure)| failure.class) {
            Some(ErrorClass::Dns) => format!("Check that the host in {address} is correct and that its name resolves on this machine."),
            Some(ErrorClass::Connect) => format!("Check that the server is running and that {address} has the correct host and port."),
            Some(ErrorClass::Tls) => {
                "Check that the server's certificate matches its host name and that this machine trusts its issuer.".to_owned()
            }
            Some(ErrorClass::Timeout) => {
                "Check whether the server is overloaded or hanging, and whether a firewall drops packets.".to_owned()
            }
            Some(ErrorClass::Auth) => format!("Check {credentials}."),
            Some(ErrorClass::Protocol) => format!("Check that {address} points to the right kind of server, and check the server's log."),
            Some(ErrorClass::Degraded) | None => "Check the server's log.".to_owned(),
        }
    }

    /// "312 failed checks".
    pub fn failed_checks(&self) -> String {
        let noun = if self.snapshot.failures == 1 { "check" } else { "checks" };
        format!("{} failed {noun}", units::count_text(u64::from(self.snapshot.failures)))
    }

    /// The time until the next check.
    pub fn next_in(&self) -> String {
        units::duration_words(self.snapshot.next_at.map_or(0, |at| (at - clock::now()).num_seconds().max(0)) + 1)
    }

    pub fn percent(seconds: &Seconds) -> String {
        seconds.uptime().map_or_else(|| "–".to_owned(), percent_text)
    }

    /// The time covered by checks, for the tooltip of an uptime.
    pub fn observed(seconds: &Seconds) -> String {
        let observed = units::duration_text((seconds.up + seconds.down).round() as i64);
        format!("of {observed} covered by checks")
    }

    pub fn bars_label(&self) -> String {
        let (seen, whole) =
            (self.bars.iter().filter(|bar| bar.tone != "none").count(), self.bars.iter().filter(|bar| bar.tone == "ok").count());
        let noun = if seen == 1 { "day" } else { "days" };
        format!("Uptime by day: {whole} of {seen} {noun} without a failed check, in the last 30 days")
    }

    pub fn last_failure(&self) -> String {
        let single = self.snapshot.last_failure.as_ref().filter(|_| !self.is_down());
        let single = single.filter(|(at, _)| self.last_incident.as_ref().is_none_or(|incident| incident.ended_at < Some(*at)));
        match (single, &self.last_incident) {
            (Some((at, failure)), _) => format!("{}, a single check: {}", units::ago_text(*at, clock::now()), failure.why),
            (None, Some(incident)) => {
                let lasted = units::duration_text(incident.duration(clock::now()).num_seconds());
                format!("{}, {lasted}: {}", units::ago_text(incident.began_at, clock::now()), incident.first)
            }
            (None, None) if self.is_down() => "No earlier failure in the last 30 days".to_owned(),
            (None, None) => "None in the last 30 days".to_owned(),
        }
    }

    /// Facts that depend on the kind of service.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some(usage) = self.snapshot.pool {
            let warn = (usage.waiting > 0).then(|| "requests are waiting".to_owned());
            facts.push(Fact {
                name: "Pool",
                value: format!("{} of {} in use, {} waiting", usage.in_use, usage.limit, usage.waiting),
                warn,
            });
        }
        match self.snapshot.detail.as_deref() {
            Some(Detail::Postgres(survey)) => {
                let size = units::size_text(u64::try_from(survey.size).unwrap_or(0));
                facts.push(fact("Database", format!("{size}, {} of {} connections", survey.connections, survey.connection_limit)));
                if let Some(age) = survey.oldest_transaction.filter(|age| *age >= 60.0) {
                    facts.push(fact("Oldest transaction", units::duration_text(age as i64)));
                }
            }
            Some(Detail::Redis(redis)) => {
                if let (Some(memory), Some(limit), Some(share)) = (redis.memory, redis.limit, redis.memory_percent()) {
                    let value = format!("{} of {}, {share}{}%", units::memory_text(memory), units::memory_text(limit), units::THIN_SPACE);
                    facts.push(Fact { name: "Memory", value, warn: (share >= 80).then(|| "above 80 %".to_owned()) });
                } else if let Some(memory) = redis.memory {
                    facts.push(fact("Memory", format!("{}, no limit", units::memory_text(memory))));
                }
                if let Some(clients) = redis.clients {
                    facts.push(fact("Clients", units::count_text(clients)));
                }
            }
            Some(Detail::S3 { round_trip: Some(took), bucket, .. }) => {
                let ms = took.as_secs_f64() * 1000.0;
                facts.push(fact("Write and read", format!("16 bytes in {bucket}, round trip {ms:.0}{}ms", units::THIN_SPACE)));
            }
            Some(Detail::S3 { keeps_objects: true, bucket, .. }) => {
                facts.push(fact(
                    "Write and read",
                    format!("skipped: objects in {bucket} cannot be deleted during its default retention (object lock)"),
                ));
            }
            Some(Detail::Qdrant { collections, inspected, points, red }) => {
                let (count, points) = (units::count_text(*collections as u64), units::count_text(*points));
                let value = match collections {
                    0 => "none".to_owned(),
                    all if all == inspected => format!("{count}, {points} points"),
                    _ => format!("{count}, {points} points in the first {inspected}"),
                };
                facts.push(Fact { name: "Collections", value, warn: (red.count > 0).then(|| format!("{} red", red.count)) });
            }
            Some(Detail::LiteLlm { models, missing }) => {
                let value = if models.count == 0 { "none".to_owned() } else { models.listed() };
                let warn = (missing.count > 0).then(|| format!("{} expected but missing", missing.listed()));
                facts.push(Fact { name: "Models", value, warn });
            }
            Some(Detail::S3 { round_trip: None, .. }) | None => {}
        }
        facts
    }
}

/// Never rounds up to "100 %".
fn percent_text(percent: f64) -> String {
    if percent >= 100.0 {
        return format!("100{}%", units::THIN_SPACE);
    }
    format!("{:.2}{}%", (percent * 100.0).floor() / 100.0, units::THIN_SPACE)
}

fn day_bar(day: &Day) -> DayBar {
    let date = day.date.format("%-d %b");
    match day.seconds.uptime() {
        None => DayBar { tone: "none", label: format!("{date}: no checks") },
        Some(percent) if day.seconds.down <= 0.0 => DayBar { tone: "ok", label: format!("{date}: {}", percent_text(percent)) },
        Some(percent) => {
            let tone = if day.seconds.down < OUTAGE_SECONDS { "warn" } else { "bad" };
            let down = units::duration_text(day.seconds.down.ceil() as i64);
            DayBar { tone, label: format!("{date}: {}, down for {down}", percent_text(percent)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downtime_is_never_rounded_away() {
        assert_eq!(percent_text(100.0), format!("100{}%", units::THIN_SPACE));
        assert_eq!(percent_text(99.9999), format!("99.99{}%", units::THIN_SPACE));
        let bar = |up, down| day_bar(&Day { date: clock::now().date_naive(), seconds: Seconds { up, down } }).tone;
        assert_eq!([bar(0.0, 0.0), bar(9.0, 0.0), bar(9.0, 5.0), bar(9.0, 61.0)], ["none", "ok", "warn", "bad"]);
    }
}
