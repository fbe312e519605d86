//! The requests of the last day, minute by minute.

use std::time::{Duration, Instant};

use crate::percentile;

/// One day.
const MINUTES: usize = 1440;
/// Upper bounds in milliseconds. Slower pages are counted after the last one.
const STEPS: [f64; 15] = [1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0];

#[derive(Clone, Copy, Default)]
struct Minute {
    /// Minutes since the start; identifies the use of this ring slot.
    number: u64,
    requests: u32,
    errors: u32,
    /// Pages only: how long an upload or a download takes depends on the client.
    by_time: [u32; STEPS.len() + 1],
}

pub(super) struct Recent {
    started: Instant,
    ring: Vec<Minute>,
}

/// What is known of a duration in milliseconds, of which only the histogram bucket was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    AtMost(f64),
    MoreThan(f64),
}

/// The load of this console.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests per second, over the last complete minute.
    pub per_second: f64,
    /// The 95th percentile of the pages of the last hour; `None` without pages.
    pub page_p95: Option<Bound>,
    /// Of the last day, or since the start.
    pub requests: u64,
    /// Of these, the number of 5xx responses.
    pub errors: u64,
}

impl Recent {
    pub fn new() -> Self {
        Self { started: Instant::now(), ring: vec![Minute::default(); MINUTES] }
    }

    /// The first is 1.
    fn number(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_secs() / 60 + 1
    }

    /// `page`: how long the page took, if the response was one.
    pub fn answered(&mut self, at: Instant, failed: bool, page: Option<Duration>) {
        let number = self.number(at);
        let Some(minute) = usize::try_from(number).ok().and_then(|number| self.ring.get_mut(number % MINUTES)) else { return };
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        minute.requests = minute.requests.saturating_add(1);
        minute.errors = minute.errors.saturating_add(u32::from(failed));
        let Some(took) = page else { return };
        let ms = took.as_secs_f64() * 1000.0;
        let step = STEPS.iter().position(|end| ms <= *end).unwrap_or(STEPS.len());
        minute.by_time[step] = minute.by_time[step].saturating_add(1);
    }

    pub fn load(&self, at: Instant) -> Load {
        let now = self.number(at);
        let within = |minutes: u64| self.ring.iter().filter(move |minute| minute.number > 0 && now - minute.number < minutes);
        let sum = |count: fn(&Minute) -> u32| within(MINUTES as u64).map(|minute| u64::from(count(minute))).sum();
        let last = within(2).find(|minute| minute.number + 1 == now).map_or(0, |minute| minute.requests);
        let mut by_time = [0_u64; STEPS.len() + 1];
        for minute in within(60) {
            for (sum, count) in by_time.iter_mut().zip(minute.by_time) {
                *sum += u64::from(count);
            }
        }
        Load {
            per_second: f64::from(last) / 60.0,
            page_p95: percentile::bucket_of(&by_time, 95)
                .map(|step| STEPS.get(step).map_or(Bound::MoreThan(STEPS[STEPS.len() - 1]), |end| Bound::AtMost(*end))),
            requests: sum(|minute| minute.requests),
            errors: sum(|minute| minute.errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_covers_the_last_minute_hour_and_day() {
        let mut recent = Recent::new();
        let at = |minute: u64| recent.started + Duration::from_secs(minute * 60 + 1);
        let (first, second, much_later) = (at(0), at(1), at(1500));
        assert_eq!(recent.load(first), Load::default());
        for took in [4, 4, 4, 900] {
            recent.answered(first, took == 900, Some(Duration::from_millis(took)));
        }
        // An upload.
        recent.answered(first, false, None);
        let load = recent.load(second);
        assert_eq!((load.requests, load.errors, load.page_p95), (5, 1, Some(Bound::AtMost(1000.0))));
        assert!((load.per_second - 5.0 / 60.0).abs() < 1e-9);
        assert_eq!(recent.load(much_later), Load::default());
        recent.answered(much_later, false, Some(Duration::from_secs(9)));
        assert_eq!(recent.load(much_later).page_p95, Some(Bound::MoreThan(5000.0)));
    }
}
