//! Every shape of table between every pair of versions: copied, followed, and compared.
//!
//! ```text
//!  a shape's first step ─► source        source ── worker, snapshot ──► target
//!  its other steps ──────► source        source ── worker, stream ────► target
//!                                        source ◄────── compared ─────► target
//! ```
//!
//! In: pairs of versions. Out: a table of shapes and pairs, an explanation of each word in it, and an exit code that is 0 only
//! when both ends were the same wherever they have to be.

mod definitions;
mod lab;
mod pair;
mod report;
mod run;
mod shape;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::postgres::{self, Wanted};
use crate::workspace::Workspace;
use lab::Lab;
use pair::Pair;
use report::{Report, Verdict};
use run::{Launch, Outcome};
use shape::{Expected, SHAPES, Shape, Source};

/// Which shapes between which servers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Versions of source and target, as in `14:14,14:18`; without: all that are supported.
    #[arg(long, value_name = "SOURCE:TARGET", value_delimiter = ',')]
    pairs: Vec<Pair>,
    /// Only the shapes of these names.
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    only: Vec<String>,
    /// A worker that is built already; without: it is built now.
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
}

/// Runs all; fails when a shape does.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let Args { pairs, only, worker } = args;
    let pairs = if pairs.is_empty() { Pair::all() } else { pairs.clone() };
    let shapes: Vec<_> = SHAPES
        .iter()
        .filter(|shape| only.is_empty() || only.iter().any(|name| name == shape.name))
        .collect();
    ensure!(
        !shapes.is_empty(),
        "no shape has such a name: {}",
        SHAPES.map(|shape| shape.name).join(", ")
    );
    let majors = pairs.iter().flat_map(|pair| [pair.source, pair.target]).collect();
    let provided = postgres::provide(workspace, &Wanted::These(majors))?;
    // Several can run at the same time.
    let directory = workspace.target.join("shapes").join(std::process::id().to_string());
    std::fs::create_dir_all(&directory)?;
    let launch = Launch {
        program: match worker {
            Some(worker) => std::path::absolute(worker)?,
            None => build(workspace)?,
        },
        programs: provided.directories(),
        directory,
    };
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(all(Lab::new(provided.servers), &launch, &pairs, &shapes))?;
    println!("{report}\n{} s", began.elapsed().as_secs());
    std::fs::remove_dir_all(&launch.directory)?;
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    let status = workspace.cargo(&["build", "--package", "stream-worker"]).status();
    ensure!(status.context("`cargo` cannot be run")?.success(), "the worker does not build");
    Ok(workspace.target.join("debug/stream-worker"))
}

async fn all(
    mut lab: Lab,
    launch: &Launch,
    pairs: &[Pair],
    shapes: &[&'static Shape],
) -> Result<Report> {
    let mut report = Report::default();
    let last = pairs.iter().max();
    for pair in pairs {
        let began = Instant::now();
        let mut runs: Vec<Vec<&'static Shape>> = Vec::new();
        for shape in shapes {
            if shape.needs > pair.source.min(pair.target) {
                report.add(shape, *pair, Verdict::TooOld);
            } else if shape.source == Source::Large && Some(pair) != last {
                report.add(shape, *pair, Verdict::NotRun);
            } else {
                let together = runs.iter_mut().find(|run| {
                    run.iter().all(|other| {
                        other.source == shape.source && other.shares(*pair) && shape.shares(*pair)
                    })
                });
                match together {
                    Some(run) => run.push(shape),
                    None => runs.push(vec![shape]),
                }
            }
        }
        for shapes in runs {
            together(&mut lab, launch, *pair, &shapes, &mut report).await;
        }
        eprintln!("{pair}: {} s", began.elapsed().as_secs());
    }
    Ok(report)
}

/// Runs shapes together; each alone when that fails, so that one does not hide the others.
async fn together(
    lab: &mut Lab,
    launch: &Launch,
    pair: Pair,
    shapes: &[&'static Shape],
    report: &mut Report,
) {
    let outcome = run::run(lab, launch, pair, shapes).await;
    if let Ok(Outcome::Compared(wrong)) = &outcome {
        for shape in shapes {
            let lines = wrong.get(shape.name).cloned().unwrap_or_default();
            report.add(shape, pair, judge(shape, pair, lines));
        }
        return;
    }
    if let [shape] = shapes {
        report.add(shape, pair, ended(launch, shape, pair, outcome));
        return;
    }
    eprintln!("{pair}: {}\n{}", problem(&outcome), run::end_of(&launch.log()));
    for shape in shapes {
        Box::pin(together(lab, launch, pair, &[shape], report)).await;
    }
}

fn judge(shape: &Shape, pair: Pair, mut lines: Vec<String>) -> Verdict {
    if let Expected::Refused(text) = shape.expected(pair) {
        lines.push(format!("the stream does not end, which has to say: {text}"));
    }
    if lines.is_empty() { Verdict::Right } else { Verdict::Wrong(lines) }
}

/// Judges a run that did not come to its end.
fn ended(launch: &Launch, shape: &Shape, pair: Pair, outcome: Result<Outcome>) -> Verdict {
    let log = std::fs::read_to_string(launch.log()).unwrap_or_default();
    match (&outcome, shape.expected(pair)) {
        (Ok(Outcome::Ended(Some(1 | 2))), Expected::Refused(text)) if log.contains(text) => {
            Verdict::Right
        }
        _ => Verdict::Wrong(vec![problem(&outcome), run::end_of(&launch.log())]),
    }
}

fn problem(outcome: &Result<Outcome>) -> String {
    match outcome {
        Ok(Outcome::Ended(code)) => format!("the worker ended by itself with code {code:?}"),
        Ok(Outcome::Compared(_)) => "both ends were compared".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}
