//! One row of the table of goals: what was measured, what was wanted, and whether that is so.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    what: String,
    measured: String,
    compared_with: String,
    reach: String,
    verdict: Verdict,
    /// What was judged; where nothing was measured, nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Reached,
    Missed,
    /// Nothing was to be reached.
    Shown,
    NotMeasured,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reach {
    AtMost(f64),
    AtLeast(f64),
}

/// A figure with its unit, as the table shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

impl Row {
    /// Compares two figures by their ratio.
    pub(super) fn ratio(what: impl Into<String>, measured: Figure, floor: (Figure, &str), reach: Reach) -> Self {
        let ratio = measured.value / floor.0.value;
        Self {
            what: what.into(),
            measured: measured.to_string(),
            compared_with: format!("{} ({}): {ratio:.2} x", floor.0, floor.1),
            reach: format!("{reach} x"),
            verdict: reach.verdict(ratio),
            value: Some(ratio),
        }
    }

    /// Compares a figure with a number.
    pub(super) fn plain(what: impl Into<String>, measured: Figure, reach: Reach) -> Self {
        let (Reach::AtMost(limit) | Reach::AtLeast(limit)) = reach;
        let limit = Figure { value: limit, unit: measured.unit };
        let reach_words = match reach {
            Reach::AtMost(_) => format!("at most {limit}"),
            Reach::AtLeast(_) => format!("at least {limit}"),
        };
        Self {
            what: what.into(),
            measured: measured.to_string(),
            compared_with: String::new(),
            reach: reach_words,
            verdict: reach.verdict(measured.value),
            value: Some(measured.value),
        }
    }

    /// Shows a figure that is good to know.
    pub(super) fn shown(what: impl Into<String>, measured: Figure) -> Self {
        Self {
            what: what.into(),
            measured: measured.to_string(),
            compared_with: String::new(),
            reach: String::new(),
            verdict: Verdict::Shown,
            value: Some(measured.value),
        }
    }

    /// Adds what helps to understand the figure.
    pub(super) fn beside(self, compared_with: String) -> Self {
        Self { compared_with, ..self }
    }

    /// Returns, of one row measured several times, the one in the middle.
    pub(super) fn median(mut repetitions: Vec<Self>) -> Option<Self> {
        repetitions.sort_by(|a, b| a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal));
        let middle = repetitions.len() / 2;
        (middle < repetitions.len()).then(|| repetitions.swap_remove(middle))
    }

    /// Says why there is no figure.
    pub(super) fn not_measured(what: &str, why: &str) -> Self {
        Self {
            what: what.to_owned(),
            measured: format!("not measured: {why}"),
            compared_with: String::new(),
            reach: String::new(),
            verdict: Verdict::NotMeasured,
            value: None,
        }
    }
}

impl Reach {
    fn verdict(self, value: f64) -> Verdict {
        let is_reached = match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        };
        if is_reached { Verdict::Reached } else { Verdict::Missed }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, compared_with, reach, verdict, value: _ } = self;
        let verdict = match verdict {
            Verdict::Reached => "reached",
            Verdict::Missed => "MISSED",
            Verdict::Shown | Verdict::NotMeasured => "",
        };
        write!(f, "| {what} | {measured} | {compared_with} | {reach} | {verdict} |")
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "at most {limit}"),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, unit } = self;
        if value.abs() < 100.0 && value.fract() != 0.0 {
            write!(f, "{value:.2} {unit}")
        } else {
            write!(f, "{value:.0} {unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "us";

    #[test]
    fn a_ratio_is_compared_not_the_figures() {
        let (measured, floor) = (Figure { value: 13.0, unit: US }, Figure { value: 6.5, unit: US });
        let row = Row::ratio("CPU", measured, (floor, "bare"), Reach::AtMost(1.9));
        assert_eq!(row.to_string(), "| CPU | 13 us | 6.50 us (bare): 2.00 x | at most 1.9 x | MISSED |");
        assert_eq!(Row::ratio("CPU", measured, (floor, "bare"), Reach::AtMost(2.0)).verdict, Verdict::Reached);
    }

    #[test]
    fn a_figure_alone_is_compared_with_its_limit() {
        let row = Row::plain("rate", Figure { value: 20_000.0, unit: "/s" }, Reach::AtLeast(20_000.0));
        assert_eq!(row.to_string(), "| rate | 20000 /s |  | at least 20000 /s | reached |");
    }

    #[test]
    fn of_several_repetitions_the_one_in_the_middle_counts() {
        let row = |value| Row::plain("rate", Figure { value, unit: "/s" }, Reach::AtLeast(2.0));
        let median = Row::median([9.0, 1.0, 2.0].map(row).into()).unwrap();
        assert_eq!((median.value, median.verdict), (Some(2.0), Verdict::Reached));
        assert!(Row::median(Vec::new()).is_none());
    }

    #[test]
    fn what_could_not_be_measured_is_neither_reached_nor_missed() {
        let row = Row::not_measured("store", "no store in this version");
        assert_eq!(row.to_string(), "| store | not measured: no store in this version |  |  |  |");
    }
}
