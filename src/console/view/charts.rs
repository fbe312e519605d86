//! The geometry of small charts: values in, coordinates in a 300 × 100 box out.

use crate::percentile;

/// A line over time, with the intervals in which the service did not respond.
#[derive(Debug, Default, PartialEq)]
pub struct Sparkline {
    /// Path data of the line.
    pub line: String,
    /// Path data of the area under the line.
    pub area: String,
    /// Left edge and width of each interval without a response.
    pub gaps: Vec<(String, String)>,
    /// The end of the line, if the last value is known.
    pub end: Option<(String, String)>,
}

/// The result of one time interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// No check ran.
    Unknown,
    /// The service did not respond.
    NoAnswer,
    Value(f32),
}

impl Sample {
    fn value(self) -> Option<f32> {
        match self {
            Self::Value(value) if value.is_finite() => Some(value),
            _ => None,
        }
    }
}

/// `samples` are in chronological order. `None` with fewer than two known values.
pub fn spark(samples: &[Sample]) -> Option<Sparkline> {
    let known = || samples.iter().filter_map(|sample| sample.value());
    if known().count() < 2 {
        return None;
    }
    // One slow response must not flatten the rest: the scale ends at three times the 95th percentile.
    let mut sorted: Vec<f32> = known().collect();
    sorted.sort_by(f32::total_cmp);
    let high = percentile::of_sorted(&sorted, 95)? * 3.0;
    let top = sorted.last()?.min(high).max(0.01);
    let width = 300.0 / (samples.len() - 1) as f32;
    let x = |at: usize| at as f32 * width;
    let y = |value: f32| 94.0 - value.min(top) / top * 86.0;

    let mut spark = Sparkline::default();
    let mut run: Vec<(f32, f32)> = Vec::new();
    let mut gap_from: Option<usize> = None;
    for (at, sample) in samples.iter().enumerate() {
        if *sample == Sample::NoAnswer {
            gap_from.get_or_insert(at.saturating_sub(1));
        } else if let Some(from) = gap_from.take() {
            spark.gaps.push(gap(x(from), x(at)));
        }
        match sample.value() {
            Some(value) => run.push((x(at), y(value))),
            None => draw(&mut spark, &mut run),
        }
    }
    spark.end = run.last().map(|(x, y)| (format!("{x:.1}"), format!("{y:.1}")));
    draw(&mut spark, &mut run);
    if let Some(from) = gap_from {
        spark.gaps.push(gap(x(from), 300.0));
    }
    Some(spark)
}

fn gap(from: f32, to: f32) -> (String, String) {
    (format!("{from:.1}"), format!("{:.1}", (to - from).max(1.0)))
}

fn draw(spark: &mut Sparkline, run: &mut Vec<(f32, f32)>) {
    if let (Some(first), Some(last)) = (run.first(), run.last()) {
        // Integers keep the page small: it contains twelve of these paths.
        let points: Vec<String> = run.iter().map(|(x, y)| format!("{x:.0} {y:.0}")).collect();
        let line = points.join("L");
        spark.line.push_str(&format!("M{line}"));
        spark.area.push_str(&format!("M{:.0} 100L{line}L{:.0} 100Z", first.0, last.0));
    }
    run.clear();
}

/// A line over time on a labelled scale.
#[derive(Debug, PartialEq)]
pub struct Area {
    pub line: String,
    pub fill: String,
    pub end: Option<(String, String)>,
}

/// `values` are in chronological order; the box spans `bottom` to `top`. A value between two unknown values becomes a
/// short stroke. `None` if no value is known.
pub fn area(values: &[Option<f64>], bottom: f64, top: f64) -> Option<Area> {
    let width = 300.0 / (values.len().max(2) - 1) as f64;
    let height = (top - bottom).max(f64::MIN_POSITIVE);
    let y = |value: f64| 98.0 - (value.clamp(bottom, top) - bottom) / height * 96.0;
    let mut area = Area { line: String::new(), fill: String::new(), end: None };
    for run in values.chunk_by(|a, b| a.is_some() == b.is_some()).scan(0, |at, run| {
        let start = *at;
        *at += run.len();
        Some((start, run))
    }) {
        let (start, run) = run;
        let mut points: Vec<(f64, f64)> =
            run.iter().enumerate().filter_map(|(at, value)| Some(((start + at) as f64 * width, y((*value)?)))).collect();
        let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else { continue };
        if points.len() == 1 {
            points.push((first.0 + width / 2.0, first.1));
        }
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let path = path.join("L");
        area.line.push_str(&format!("M{path}"));
        area.fill.push_str(&format!("M{:.1} 100L{path}L{:.1} 100Z", first.0, points[points.len() - 1].0));
        area.end = Some((format!("{:.1}", last.0), format!("{:.1}", last.1)));
    }
    (!area.line.is_empty()).then_some(area)
}

/// One bar of a histogram.
#[derive(Debug, PartialEq)]
pub struct Bar {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
}

/// One bar per value. A value above zero is always visible.
pub fn bars(values: &[i64]) -> Vec<Bar> {
    let top = values.iter().copied().max().unwrap_or(0).max(1) as f32;
    let width = 300.0 / values.len().max(1) as f32;
    let bar = |(at, value): (usize, &i64)| {
        let height = if *value > 0 { (*value as f32 / top * 100.0).max(4.0) } else { 0.0 };
        Bar {
            x: format!("{:.1}", at as f32 * width + width * 0.14),
            y: format!("{:.1}", 100.0 - height),
            width: format!("{:.1}", width * 0.72),
            height: format!("{height:.1}"),
        }
    };
    values.iter().enumerate().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_interrupted_where_there_was_no_response() {
        use Sample::{NoAnswer, Unknown, Value};
        let spark = spark(&[Value(1.0), Value(2.0), NoAnswer, NoAnswer, Value(1.0), Unknown, Value(1.0)]).unwrap();
        assert_eq!(spark.line.matches('M').count(), 3);
        assert_eq!(spark.gaps, [("50.0".to_owned(), "150.0".to_owned())], "an interval without a check is not a failure");
        assert_eq!(spark.end.unwrap().0, "300.0");
    }

    #[test]
    fn fewer_than_two_values_draw_no_line() {
        assert_eq!(spark(&[]), None);
        assert_eq!(spark(&[Sample::Unknown, Sample::Value(1.0)]), None);
    }

    #[test]
    fn an_area_starts_at_the_bottom_and_is_interrupted_by_unknown_values() {
        let area = area(&[Some(80.0), Some(100.0), None, Some(90.0), None], 80.0, 100.0).unwrap();
        assert!(area.line.starts_with("M0.0 98.0L75.0 2.0M225.0 50.0L"), "{}", area.line);
        assert_eq!(area.end, Some(("225.0".to_owned(), "50.0".to_owned())));
        assert_eq!(super::area(&[None, None], 0.0, 1.0), None);
    }

    #[test]
    fn bars_span_from_zero_to_the_top() {
        let bars = bars(&[0, 5, 10]);
        assert_eq!((bars[0].height.as_str(), bars[1].height.as_str(), bars[2].y.as_str()), ("0.0", "50.0", "0.0"));
    }
}
