//! What the runs showed: faults by phase, and what failed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::faults::{NAMES, Phase};
use super::run::Record;
use crate::compare::grouped;

/// The sum of all runs.
#[derive(Default)]
pub(super) struct Report {
    runs: u64,
    hits: BTreeMap<(&'static str, Phase), u64>,
    transactions: u64,
    states: u64,
    starts: u64,
    /// The seeds of runs that failed, and why.
    pub(super) failed: BTreeMap<u64, String>,
}

impl Report {
    /// Adds a run, and says how it was.
    pub(super) fn add(
        &mut self,
        seed: u64,
        record: &Record,
        ended: Result<()>,
        took: Duration,
        again: &str,
    ) {
        let Record { hits, transactions, states, starts } = record;
        self.runs += 1;
        for hit in hits {
            *self.hits.entry(*hit).or_default() += 1;
        }
        self.transactions += transactions;
        self.states += states;
        self.starts += starts;
        let faults = hits.len();
        let verdict = match ended {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                let reason = format!("{error:#}");
                self.failed.insert(seed, format!("{reason}\n  {again}"));
                format!("FAILED: {reason}")
            }
        };
        println!(
            "seed {seed:>5}  {:4.1} s  {faults:>2} faults  {transactions:>5} transactions  {states:>4} states  {verdict}",
            took.as_secs_f32()
        );
    }

    fn count(&self, words: &str) -> usize {
        self.failed.values().filter(|reason| reason.contains(words)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:28}", "fault")?;
        for phase in Phase::ALL {
            write!(f, "{phase:>11}")?;
        }
        writeln!(f)?;
        for name in NAMES {
            write!(f, "{name:28}")?;
            for phase in Phase::ALL {
                let count = self.hits.get(&(name, phase)).copied().unwrap_or_default();
                write!(f, "{count:>11}")?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "\n{} runs, {} faults, {} workers, {} transactions, {} states or events read",
            grouped(self.runs),
            grouped(self.hits.values().sum()),
            grouped(self.starts),
            grouped(self.transactions),
            grouped(self.states),
        )?;
        let (lost, doubled) = (self.count("lost"), self.count("doubled"));
        let (never, differ) = (self.count("a state that never was"), self.count("differ"));
        writeln!(
            f,
            "{lost} lost, {doubled} doubled, {never} states that never were, {differ} not identical at the end, {} failed",
            self.failed.len()
        )?;
        for (seed, reason) in &self.failed {
            writeln!(f, "\nseed {seed}: {reason}")?;
        }
        Ok(())
    }
}
