//! The geometry of small charts: figures in, coordinates in a box of 300 by 100 out.

/// A line over time, with the stretches that had no answer.
#[derive(Debug, Default, PartialEq)]
pub struct Spark {
    /// Path data of the line.
    pub line: String,
    /// Path data of the ground under it.
    pub area: String,
    /// Left edge and width of each stretch without an answer.
    pub gaps: Vec<(String, String)>,
    /// Where the line ends, if the last value is known.
    pub end: Option<(String, String)>,
}

/// `values` are in order of time. `None` with fewer than two known values.
pub fn spark(values: &[Option<f32>]) -> Option<Spark> {
    let known = || values.iter().copied().flatten().filter(|value| value.is_finite());
    if known().count() < 2 {
        return None;
    }
    // One slow answer must not flatten all the others: the scale ends at three times the 95th percentile.
    let mut sorted: Vec<f32> = known().collect();
    sorted.sort_by(f32::total_cmp);
    let high = sorted[sorted.len() * 95 / 100 % sorted.len()] * 3.0;
    let top = sorted.last().copied().unwrap_or(1.0).min(high).max(0.01);
    let step = 300.0 / (values.len() - 1) as f32;
    let x = |at: usize| at as f32 * step;
    let y = |value: f32| 94.0 - value.min(top) / top * 86.0;

    let mut spark = Spark::default();
    let mut run: Vec<(f32, f32)> = Vec::new();
    let mut gap_from: Option<usize> = None;
    for (at, value) in values.iter().enumerate() {
        match value.filter(|value| value.is_finite()) {
            Some(value) => {
                if let Some(from) = gap_from.take() {
                    spark.gaps.push(gap(x(from), x(at)));
                }
                run.push((x(at), y(value)));
            }
            None => {
                gap_from.get_or_insert(at.saturating_sub(1));
                draw(&mut spark, &mut run);
            }
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

fn draw(spark: &mut Spark, run: &mut Vec<(f32, f32)>) {
    if let (Some(first), Some(last)) = (run.first(), run.last()) {
        let points: Vec<String> = run.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let line = points.join("L");
        spark.line.push_str(&format!("M{line}"));
        spark.area.push_str(&format!("M{:.1} 100L{line}L{:.1} 100Z", first.0, last.0));
    }
    run.clear();
}

/// One bar of a histogram.
#[derive(Debug, PartialEq)]
pub struct Bar {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
}

/// One bar a value; a value above zero is never invisible.
pub fn bars(values: &[i64]) -> Vec<Bar> {
    let top = values.iter().copied().max().unwrap_or(0).max(1) as f32;
    let step = 300.0 / values.len().max(1) as f32;
    let bar = |(at, value): (usize, &i64)| {
        let height = if *value > 0 { (*value as f32 / top * 100.0).max(4.0) } else { 0.0 };
        Bar {
            x: format!("{:.1}", at as f32 * step + step * 0.14),
            y: format!("{:.1}", 100.0 - height),
            width: format!("{:.1}", step * 0.72),
            height: format!("{height:.1}"),
        }
    };
    values.iter().enumerate().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_where_there_was_no_answer() {
        let spark = spark(&[Some(1.0), Some(2.0), None, None, Some(1.0)]).unwrap();
        assert_eq!(spark.line.matches('M').count(), 2);
        assert_eq!(spark.gaps, [("75.0".to_owned(), "225.0".to_owned())]);
        assert_eq!(spark.end.unwrap().0, "300.0");
    }

    #[test]
    fn too_little_is_no_line() {
        assert_eq!(spark(&[]), None);
        assert_eq!(spark(&[None, Some(1.0)]), None);
    }

    #[test]
    fn bars_reach_from_nothing_to_the_top() {
        let bars = bars(&[0, 5, 10]);
        assert_eq!((bars[0].height.as_str(), bars[1].height.as_str(), bars[2].y.as_str()), ("0.0", "50.0", "0.0"));
    }
}
