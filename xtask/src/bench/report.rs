//! What came out: a table for people, and all numbers for machines.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use serde_json::{Value, json};

use super::servers::SETTINGS;
use super::usage::{Spent, load_average};
use super::{Bench, Workspace};
use crate::workspace::output;

const MEBIBYTE: f64 = 1_048_576.0;
const HEADER: &str = "\
| scenario | anchor | ours | ratio | bar | | worker MiB | worker CPU s | source CPU s | target CPU s | noise |
|---|---|---|---|---|---|---|---|---|---|---|
";

/// One run of one side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// How long it took.
    pub(super) seconds: f64,
    /// CPU seconds of our process; of the anchor's client programs.
    pub(super) cpu: f64,
    /// Bytes of memory of our process at its peak; 0 for the anchor.
    pub(super) memory: u64,
    /// CPU seconds of the servers and of others.
    pub(super) spent: Spent,
}

/// What has to be met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bars {
    /// The anchor's time divided by ours, at least.
    pub(super) ratio: Option<f64>,
    /// Our time, at most.
    pub(super) seconds: Option<f64>,
    /// The worker's memory, at most.
    pub(super) mebibytes: f64,
}

impl Default for Bars {
    fn default() -> Self {
        Self { ratio: None, seconds: None, mebibytes: 64.0 }
    }
}

/// All runs of a scenario.
pub(super) struct Line {
    pub(super) name: String,
    /// Rows that each run moves; `None` where the rate means nothing.
    pub(super) rows: Option<f64>,
    pub(super) anchor: Vec<Run>,
    pub(super) ours: Vec<Run>,
    pub(super) bars: Bars,
}

/// The lines, and where they come from.
pub(super) struct Report {
    origin: Value,
    pub(super) lines: Vec<Line>,
}

impl Report {
    /// Notes what is measured where.
    pub(super) fn begin(workspace: &Workspace, bench: &Bench) -> Result<Self> {
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            let text = output(git.current_dir(&workspace.root).args(arguments));
            text.map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let origin = json!({
            "commit": git(&["rev-parse", "HEAD"]),
            "changed_files": git(&["status", "--porcelain", "--untracked-files=no"]),
            "time": stream_core::clock::now().duration_since(UNIX_EPOCH)?.as_secs(),
            "server": bench.source.text("SHOW server_version")?,
            "settings": SETTINGS.map(|(name, value)| format!("{name}={value}")),
            "cores": std::thread::available_parallelism()?.get(),
            "load_before": load_average(),
            "runs": bench.runs,
            "scale": bench.scale,
        });
        Ok(Self { origin, lines: Vec::new() })
    }

    /// The table, as Markdown.
    pub(super) fn table(&self) -> String {
        self.lines.iter().fold(HEADER.to_owned(), |table, line| table + &line.row() + "\n")
    }

    /// Writes all numbers into a new file of `directory`.
    pub(super) fn save(&self, directory: &Path) -> Result<PathBuf> {
        let path = directory.join(format!("{}.json", self.origin["time"]));
        let lines: Vec<_> = self.lines.iter().map(Line::json).collect();
        let all = json!({ "origin": self.origin, "scenarios": lines });
        fs::write(&path, serde_json::to_string_pretty(&all)? + "\n")?;
        Ok(path)
    }

    /// Whether every bar is met.
    pub(super) fn all_met(&self) -> bool {
        self.lines.iter().all(|line| line.missed().is_empty())
    }
}

impl Line {
    fn ratio(&self) -> Option<f64> {
        let seconds = |runs: &[Run]| median(runs, |run| run.seconds);
        (!self.anchor.is_empty()).then(|| seconds(&self.anchor) / seconds(&self.ours))
    }

    /// The most of all runs: a bar of memory holds always, not usually.
    fn mebibytes(&self) -> f64 {
        let peak = self.ours.iter().map(|run| run.memory).max();
        mebibytes(peak.unwrap_or_default())
    }

    fn missed(&self) -> Vec<&'static str> {
        let Bars { ratio, seconds, mebibytes } = self.bars;
        let took = median(&self.ours, |run| run.seconds);
        let slower = ratio.zip(self.ratio()).is_some_and(|(bar, ratio)| ratio < bar);
        [
            (slower || seconds.is_some_and(|bar| took >= bar), "time"),
            (self.mebibytes() > mebibytes, "memory"),
        ]
        .into_iter()
        .filter_map(|(missed, what)| missed.then_some(what))
        .collect()
    }

    fn row(&self) -> String {
        let Bars { ratio, seconds, mebibytes } = self.bars;
        let time = |runs: &[Run]| match self.rows {
            _ if runs.is_empty() => "–".to_owned(),
            Some(rows) => {
                let seconds = median(runs, |run| run.seconds);
                format!("{} ({:.0} k/s)", duration(seconds), rows / seconds / 1e3)
            }
            None => duration(median(runs, |run| run.seconds)),
        };
        let both = |number: fn(&Run) -> f64| match self.anchor.as_slice() {
            [] => format!("{:.2}", median(&self.ours, number)),
            anchor => format!("{:.1} → {:.1}", median(anchor, number), median(&self.ours, number)),
        };
        let mut bars: Vec<_> = ratio.map(|bar| format!("≥ {bar:.1} ×")).into_iter().collect();
        bars.extend(seconds.map(|bar| format!("< {}", duration(bar))));
        bars.push(format!("≤ {mebibytes} MiB"));
        let missed = self.missed();
        let met = match missed.is_empty() {
            true => "met".to_owned(),
            false => format!("NOT MET: {}", missed.join(", ")),
        };
        let noise = median(&self.anchor, noise).max(median(&self.ours, noise));
        let cells = [
            self.name.clone(),
            time(&self.anchor),
            time(&self.ours),
            self.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} ×")),
            bars.join(", "),
            met,
            format!("{:.1}", self.mebibytes()),
            format!("{:.2}", median(&self.ours, |run| run.cpu)),
            both(|run| run.spent.source),
            both(|run| run.spent.target),
            format!("{:.0} %", noise * 100.0),
        ];
        format!("| {} |", cells.join(" | "))
    }

    fn json(&self) -> Value {
        let runs = |runs: &[Run]| runs.iter().map(Run::json).collect::<Vec<_>>();
        json!({
            "scenario": self.name,
            "rows": self.rows,
            "ratio": self.ratio(),
            "bar_ratio": self.bars.ratio,
            "bar_seconds": self.bars.seconds,
            "bar_mebibytes": self.bars.mebibytes,
            "missed": self.missed(),
            "anchor": runs(&self.anchor),
            "ours": runs(&self.ours),
        })
    }
}

impl Run {
    fn json(&self) -> Value {
        let Self { seconds, cpu, memory, spent: Spent { source, target, others } } = self;
        json!({
            "seconds": seconds,
            "cpu_seconds": cpu,
            "peak_bytes": memory,
            "source_cpu_seconds": source,
            "target_cpu_seconds": target,
            "others_cpu_seconds": others,
        })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, cpu, memory, spent: Spent { source, target, .. } } = self;
        write!(f, "{:>8}, CPU {cpu:.2} s", duration(*seconds))?;
        write!(f, " (source {source:.1}, target {target:.1})")?;
        if *memory > 0 {
            write!(f, ", {:.1} MiB", mebibytes(*memory))?;
        }
        write!(f, ", noise {:.0} %", noise(self) * 100.0)
    }
}

/// CPU seconds of others by seconds: 1 is a whole core.
fn noise(run: &Run) -> f64 {
    run.spent.others / run.seconds
}

/// The middle one; the mean of the two in the middle of an even number; 0 of none.
fn median(runs: &[Run], number: impl Fn(&Run) -> f64) -> f64 {
    let mut numbers: Vec<_> = runs.iter().map(number).collect();
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
    if numbers.len() % 2 == 1 { at(half) } else { at(half.saturating_sub(1)).midpoint(at(half)) }
}

#[expect(clippy::cast_precision_loss, reason = "52 bits of bytes are more than memory holds")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}

fn duration(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(seconds: &[f64], mebibytes: u64) -> Vec<Run> {
        let spent = Spent { source: 2.0, target: 1.0, others: 0.5 };
        let run = |&seconds: &f64| Run { seconds, cpu: 0.25, memory: mebibytes << 20, spent };
        seconds.iter().map(run).collect()
    }

    #[test]
    fn a_line_compares_medians_and_the_highest_memory() {
        let mut line = Line {
            name: "copy".to_owned(),
            rows: Some(4e6),
            anchor: runs(&[9.0, 8.0, 20.0], 0),
            ours: runs(&[10.0, 1.0, 10.0], 60),
            bars: Bars { ratio: Some(0.9), ..Bars::default() },
        };
        assert!(line.missed().is_empty());
        assert_eq!(
            line.row(),
            "| copy | 9.00 s (444 k/s) | 10.00 s (400 k/s) | 0.90 × | ≥ 0.9 ×, ≤ 64 MiB | met | 60.0 | 0.25 | \
             2.0 → 2.0 | 1.0 → 1.0 | 6 % |"
        );
        line.ours[1].memory = 65 << 20;
        line.ours[2].seconds = 10.1;
        line.ours[1].seconds = 10.1;
        assert_eq!(line.missed(), ["time", "memory"]);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        for (seconds, expected) in
            [(&[][..], 0.0), (&[3.0], 3.0), (&[4.0, 1.0], 2.5), (&[9.0, 1.0, 3.0, 2.0], 2.5)]
        {
            assert_eq!(median(&runs(seconds, 0), |run| run.seconds), expected);
        }
    }
}
