//! The way back through a listing. A store's cursor leads only forwards, so the address of a page carries
//! the cursors of the pages before it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Addresses stay well under the 8 KiB that proxies take; beyond it only `First` leads back.
const LONGEST: usize = 3000;

/// No listing is longer; what an address says beyond it is made up.
const FURTHEST: u64 = 1 << 53;

/// How many entries come before a page, as its address says.
pub fn offset(text: &str) -> Option<u64> {
    text.parse().ok().map(|offset: u64| offset.min(FURTHEST))
}

/// One page: how many entries come before it, and its cursor (none for the first).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub offset: u64,
    pub cursor: String,
}

/// The pages before this one, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Vec<Step>);

impl Trail {
    /// What cannot be read is no way back, and no error.
    pub fn parse(text: &str) -> Self {
        let step = |part: &str| {
            let (offset, cursor) = part.split_once('.')?;
            let cursor = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            Some(Step { offset: self::offset(offset)?, cursor })
        };
        let steps: Option<Vec<Step>> = text.split('~').filter(|part| !part.is_empty()).map(step).collect();
        Self(steps.unwrap_or_default())
    }

    /// The trail of the page after the one at `here`.
    pub fn and(&self, here: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(here);
        while steps.len() > 1 && Self::write(&steps).len() > LONGEST {
            steps.remove(0);
        }
        Self(steps)
    }

    /// The page before, and its own trail.
    pub fn back(&self) -> Option<(Step, Self)> {
        let (last, rest) = self.0.split_last()?;
        Some((last.clone(), Self(rest.to_vec())))
    }

    fn write(steps: &[Step]) -> String {
        let steps: Vec<String> = steps.iter().map(|step| format!("{}.{}", step.offset, URL_SAFE_NO_PAD.encode(&step.cursor))).collect();
        steps.join("~")
    }
}

impl std::fmt::Display for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Self::write(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(offset: u64, cursor: &str) -> Step {
        Step { offset, cursor: cursor.to_owned() }
    }

    #[test]
    fn the_way_back_is_the_way_there() {
        let third = Trail::default().and(step(0, "")).and(step(100, "to ken/ü"));
        let read = Trail::parse(&third.to_string());
        assert_eq!(read, third);
        let (second, rest) = read.back().unwrap();
        assert_eq!(second, step(100, "to ken/ü"));
        assert_eq!(rest.back().unwrap().0, step(0, ""));
    }

    #[test]
    fn a_long_way_forgets_its_beginning() {
        let trail = (0..200).fold(Trail::default(), |trail, at| trail.and(step(at * 100, &"c".repeat(80))));
        assert!(trail.to_string().len() <= LONGEST);
        assert_eq!(trail.back().unwrap().0.offset, 19_900);
    }

    #[test]
    fn nonsense_is_no_way_back() {
        assert_eq!(Trail::parse("x~y.%"), Trail::default());
        let far = Trail::parse("18446744073709551615.").back().unwrap().0.offset;
        assert!(far.checked_add(1000).is_some());
    }
}
