//! Asks source and target whether a stream can work, without changing them.

use std::path::Path;

use stream_core::checkpoint::Checkpoint;
use stream_core::finding::Finding;
use stream_core::postgres::ConnectOptions;
use stream_core::postgres::survey::{Survey, survey};
use stream_sinks::postgres::TargetSurvey;

use super::captured;
use super::report::Report;
use crate::args::Validate;
use crate::config::StreamConfig;
use crate::config::sink::{SinkConfig, Surroundings};
use crate::files;
use crate::resolve::{Place, Places, Target};

/// Looks at both ends of a stream, as far as they are there.
pub(super) async fn look(
    config: StreamConfig,
    places: Places,
    validate: &Validate,
    report: &mut Report,
) {
    // Files that `pg_dump` reads, as long as it may run.
    let Places { source, target, certificates: _certificates } = places;
    let source = introduce("source", source, report);
    let target = match target {
        Target::Server(place) => introduce("target", place, report),
        Target::Endpoint(_) => {
            report.line("target: an HTTP endpoint, not called");
            None
        }
    };
    let StreamConfig { identity, max_retries: _, paused: _, tombstone: _, source: capture, sink } =
        config;
    let everything = capture.everything;

    let target_survey = match &target {
        Some(connect) => {
            let survey = TargetSurvey::connect(connect.clone(), identity.clone()).await;
            keep("target", survey, report)
        }
        None => None,
    };
    let mut checkpoint = Checkpoint::default();
    if let Some(target) = &target_survey {
        checkpoint = keep("target", target.checkpoint().await, report).unwrap_or_default();
        tell("target", keep("target", target.server().await, report), report);
    }
    let Some(source) = source else { return };
    let options = capture.options(source.clone(), Path::new("."));
    let Some(found) = keep("source", survey(&options, &checkpoint).await, report) else { return };
    let Survey { findings, captured, rows, inspected } = found;
    tell("source", Some(findings), report);
    if let SinkConfig::CloudEvent(sink) = &sink {
        let warnings = sink.events.warnings(&inspected.tables).into_iter().map(Finding::warning);
        tell("source", Some(warnings.collect()), report);
    }
    if let (Some(survey), Some(target), SinkConfig::Postgres(sink)) = (target_survey, target, sink)
    {
        let surroundings = Surroundings {
            target,
            source,
            stream: identity,
            everything,
            program_directories: files::program_directories(&validate.program_path),
        };
        let options = sink.options(surroundings);
        let found = Box::pin(survey.tables(&options, &inspected, &checkpoint)).await;
        tell("target", keep("target", found, report), report);
    }
    captured::show(&captured, &rows, &inspected).iter().for_each(|line| report.line(line));
}

/// The address of a server that is there, told to the user.
fn introduce(end: &str, place: Place, report: &Report) -> Option<ConnectOptions> {
    match place {
        Place::Given { title, connect } => {
            let name = if title == end { String::new() } else { format!(" `{title}`") };
            report.line(&format!("{end}{name}: postgres://{}@{}", connect.user, connect.server()));
            Some(connect)
        }
        Place::ThrowAway { cluster, .. } => {
            report.line(&format!(
                "{end} `{cluster}`: a throw-away PostgreSQL that `local` starts, not looked at; give an address with \
                 `--cluster {cluster}=postgres://user@host:port/`"
            ));
            None
        }
    }
}

/// The answer, or `None` after the error was told.
fn keep<T>(end: &str, answer: Result<T, stream_core::Error>, report: &mut Report) -> Option<T> {
    answer.map_err(|error| report.finding(end, &error.into())).ok()
}

fn tell(end: &str, findings: Option<Vec<Finding>>, report: &mut Report) {
    findings.iter().flatten().for_each(|finding| report.finding(end, finding));
}
