//! What came of all shapes between all pairs, as a table.

use std::collections::BTreeMap;
use std::fmt;

use super::pair::Pair;
use super::shape::{Expected, SHAPES, Shape, Source};

/// What came of a shape between a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What was expected.
    Right,
    /// One of the servers has no such thing.
    TooOld,
    /// It was left out here.
    NotRun,
    /// What is wrong, a line for each thing.
    Wrong(Vec<String>),
}

/// All verdicts.
#[derive(Debug, Default)]
pub(super) struct Report(BTreeMap<(&'static str, Pair), Verdict>);

impl Report {
    pub(super) fn add(&mut self, shape: &Shape, pair: Pair, verdict: Verdict) {
        self.0.insert((shape.name, pair), verdict);
    }

    pub(super) fn is_right(&self) -> bool {
        !self.0.values().any(|verdict| matches!(verdict, Verdict::Wrong(_)))
    }

    fn word(&self, shape: &Shape, pair: Pair) -> String {
        match (self.0.get(&(shape.name, pair)), shape.expected(pair)) {
            (Some(Verdict::Right), Expected::Same) => "ok".to_owned(),
            (Some(Verdict::Right), Expected::Named(_)) => "named".to_owned(),
            (Some(Verdict::Right), Expected::Refused(_)) => "said".to_owned(),
            (Some(Verdict::TooOld), _) => format!("{}+", shape.needs),
            (Some(Verdict::NotRun), _) | (None, _) => "-".to_owned(),
            (Some(Verdict::Wrong(_)), _) => "WRONG".to_owned(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairs: Vec<Pair> = self.0.keys().map(|(_, pair)| *pair).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let shown: Vec<_> = SHAPES
            .iter()
            .filter(|shape| self.0.keys().any(|(name, _)| *name == shape.name))
            .collect();
        let width = shown.iter().map(|shape| shape.name.len()).max().unwrap_or_default();
        write!(f, "{:width$}", "shape")?;
        for pair in &pairs {
            write!(f, "  {:5}", pair.to_string())?;
        }
        for shape in &shown {
            write!(f, "\n{:width$}", shape.name)?;
            for pair in &pairs {
                write!(f, "  {:5}", self.word(shape, *pair))?;
            }
        }
        f.write_str("\n\n")?;
        for shape in shown {
            write!(f, "{:width$}  {}", shape.name, shape.script().about)?;
            let of_shape = pairs.iter().map(|pair| shape.expected(*pair));
            let mut expected: Vec<_> =
                of_shape.filter(|expected| *expected != Expected::Same).collect();
            expected.dedup();
            for expected in expected {
                match expected {
                    Expected::Same => {}
                    Expected::Named(texts) => write!(f, " `named`: {}.", texts.join("; "))?,
                    Expected::Refused(text) => write!(f, " `said`: {text}.")?,
                }
            }
            if shape.source == Source::Large {
                f.write_str(" Between the last pair only.")?;
            }
            f.write_str("\n")?;
        }
        f.write_str(
            "\nok: every table, sequence and definition is the same at both ends. named: the same, and what is never captured was named. \
             said: the stream refuses the shape and says why. 17+, 18+: older servers have no such thing. -: not run.\n",
        )?;
        for ((name, pair), verdict) in &self.0 {
            if let Verdict::Wrong(lines) = verdict {
                write!(
                    f,
                    "\nWRONG {name}, {pair}:\n  {}\n",
                    lines.join("\n").replace('\n', "\n  ")
                )?;
            }
        }
        Ok(())
    }
}
