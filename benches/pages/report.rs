//! The results table.

#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// One row of the table.
pub struct Figure {
    what: String,
    value: f64,
    target: Target,
    note: String,
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, target: Target) -> Self {
        Self { what: what.into(), value, target, note: String::new() }
    }

    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    pub fn print(&self) {
        let (target, reached) = match self.target {
            Target::AtMost(most) => (format!("≤ {most}"), Some(self.value <= most)),
            Target::AtLeast(least) => (format!("≥ {least}"), Some(self.value >= least)),
            Target::None => (String::new(), None),
        };
        let verdict = match reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        println!("{}", format!("  {:<48}{:>9.2}  {target:<8}{verdict:<9}{}", self.what, self.value, self.note).trim_end());
    }
}

/// The value below which this percentage of values lie.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub fn middle(values: &[f64]) -> f64 {
    percentile(&mut values.to_vec(), 50)
}

pub fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

/// Minimum and maximum of several rounds.
pub fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::NAN, f64::min);
    format!("{least:.2} – {:.2}", most(values))
}
