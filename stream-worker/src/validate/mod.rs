//! `stream-worker validate`: looks for mistakes, runs nothing and changes nothing.
//!
//! ```text
//!  files ─► documents ─► each stream's configuration ─► with --connect: places ─► source, target
//!           every mistake, with file, line and path                   every finding, and what would be captured
//! ```
//!
//! What is found goes to the standard output, a line each, or to the standard error where `--effective` prints a stream; a summary
//! to the standard error.

mod captured;
mod connect;
mod effective;
mod report;

use std::process::ExitCode;

use stream_api::{Documents, SGStream};
use stream_core::{Error, ErrorKind};

use crate::args::{LogFormat, Validate};
use crate::config::{self, problem::Found};
use crate::files;
use crate::resolve;
use crate::show::{Screen, say};
use crate::supervise;
use report::Report;

/// Looks at everything that `validate` names.
pub(crate) fn main(validate: &Validate) -> ExitCode {
    let _logs = Screen::open(LogFormat::Text);
    for warning in &validate.warnings {
        tracing::warn!("{warning}");
    }
    match run(validate) {
        Ok(report) => {
            eprintln!("{}", report.summary());
            ExitCode::from(report.exit_code())
        }
        Err(error) => {
            error.to_string().lines().for_each(|line| eprintln!("error: {line}"));
            ExitCode::from(supervise::exit_code(&error))
        }
    }
}

fn run(validate: &Validate) -> Result<Report, Error> {
    let mut report = Report::new(validate.effective);
    let documents = match stream_api::load_with(&files::read(&validate.files)?, config::problems) {
        Ok(documents) => documents,
        Err(problems) => {
            problems.0.iter().for_each(|problem| report.problem(problem));
            return Ok(report);
        }
    };
    if documents.streams().next().is_none() {
        return Err(files::no_stream());
    }
    for stream in documents.streams() {
        look_at(stream, &documents, validate, &mut report)?;
    }
    for name in validate.logins.clusters.keys().filter(|name| !is_named(&documents, name)) {
        report.warn(&format!(
            "--cluster {name}: no stream names a cluster so: correct the name, or remove the argument"
        ));
    }
    Ok(report)
}

/// Whether a stream reads or writes the cluster `name`.
fn is_named(documents: &Documents, name: &str) -> bool {
    documents.streams().any(|stream| {
        let source = stream.spec.source.sg_cluster.as_ref().map(|cluster| &cluster.name);
        let target = stream.spec.target.sg_cluster.as_ref().map(|cluster| &cluster.name);
        source.into_iter().chain(target).any(|cluster| cluster == name)
    })
}

/// Looks at one stream.
fn look_at(
    stream: &SGStream,
    documents: &Documents,
    validate: &Validate,
    report: &mut Report,
) -> Result<(), Error> {
    let mut found = Found::default();
    let config = config::read(stream, &mut found);
    let places = match validate.connect {
        true => resolve::places(stream, documents, &validate.logins, &mut found),
        false => None,
    };
    for problem in found.into_problems() {
        match validate.connect {
            true => report.problem(&problem),
            // The resource has it, and so does a later version.
            false => report.warn(&problem.to_string()),
        }
    }
    for unused in config::without_effect(stream) {
        report.warn(&unused.to_string());
    }
    report.streams += 1;
    if validate.effective {
        let document =
            effective::document(stream).map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        say(document.trim_end());
    }
    let (Some(config), Some(places)) = (config, places) else { return Ok(()) };
    report.line(&format!("stream {}", config.identity));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
    runtime.block_on(connect::look(config, places, validate, report));
    Ok(())
}
