//! `stream-worker local`: a stream without Kubernetes.
//!
//! ```text
//!  files ─► documents ─► configuration, places ─► throw-away servers ─► composition ─► supervise
//!                        (all problems at once)   (where places say so)                  │
//!                                                                          show ◄────────┘ numbers
//! ```

mod servers;

use std::path::PathBuf;
use std::process::ExitCode;

use stream_api::{Documents, Problem, SGStream, names};
use stream_core::stats::{Stats, StreamStats};
use stream_core::{Error, ErrorKind};
use stream_sinks::cloudevent::headers::Reread;
use stream_sinks::cloudevent::options::EndpointOptions;
use stream_sinks::postgres::Claim;

use crate::args::{self, Local, LogFormat};
use crate::compose::Composition;
use crate::config::sink::{CloudEventConfig, SinkConfig, Surroundings};
use crate::config::{self, StreamConfig, problem::Found};
use crate::files;
use crate::resolve::{self, EndpointSecrets, Places, Target};
use crate::show::{Screen, say};
use crate::supervise::{self, Ending, Plan, Signals};
use servers::Servers;

/// Two cores' worth: one half of a stream reads while the other writes.
const WORKER_THREADS: usize = 2;
/// For servers that start side by side, and file names that are looked up.
const BLOCKING_THREADS: usize = 4;

/// Runs the stream to its end.
pub(crate) fn main(local: Local) -> ExitCode {
    let screen = Screen::open(local.log_format);
    let format = local.log_format;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Permanent, error));
    match runtime.and_then(|runtime| runtime.block_on(run(local, &screen))) {
        Ok(ending) => ExitCode::from(ending.exit_code()),
        Err(error) => {
            match format {
                LogFormat::Text => {
                    // Several problems are told at once, one a line.
                    let lines = error.to_string();
                    lines.lines().for_each(|line| eprintln!("error: {line}"));
                }
                LogFormat::Json => tracing::error!("{error}"),
            }
            ExitCode::from(supervise::exit_code(&error))
        }
    }
}

async fn run(local: Local, screen: &Screen) -> Result<Ending, Error> {
    let signals = Signals::listen()?;
    for warning in &local.warnings {
        tracing::warn!("{warning}");
    }
    let documents = tokio::select! {
        ending = signals.wait() => return Ok(ending),
        documents = documents(local.files.clone()) => documents?,
    };
    let stream = only_stream(&documents)?;
    let mut found = Found::default();
    let config = config::read(stream, &mut found);
    let places = resolve::places(stream, &documents, &local.logins, &mut found);
    if let Some(places) = &places {
        resolve::check_names(places, &local, &mut found);
    }
    if let Some(error) = found.into_error() {
        return Err(error);
    }
    let (Some(config), Some(places)) = (config, places) else {
        return Err(supervise::unexpected("the stream cannot be read: report it"));
    };
    for Problem { path, message, .. } in config::without_effect(stream) {
        tracing::warn!(name = path, reason = message, "accepted, and without effect here");
    }
    if config.paused {
        say(&format!("stream {} is paused: set `spec.paused` to false to run it", config.identity));
        return Ok(Ending::Completed);
    }
    let started = tokio::select! {
        // Servers that are being started stop as soon as they run.
        ending = signals.wait() => Err(ending),
        started = Servers::start(names::namespace(stream), &places, &local) => Ok(started),
    };
    let servers = match started {
        Ok(Ok(servers)) => servers,
        Ok(Err(error)) => return signals.excuse(error).await,
        Err(ending) => {
            let nothing = StreamStats::default();
            say(&farewell(&config.identity, Ok(&ending), &nothing, &local.command));
            return Ok(ending);
        }
    };
    let ended = stream_through(&local, config, places, &servers, &signals, screen).await;
    servers.stop().await;
    ended
}

/// Runs the stream between servers that are there.
async fn stream_through(
    local: &Local,
    config: StreamConfig,
    places: Places,
    servers: &Servers,
    signals: &Signals,
    screen: &Screen,
) -> Result<Ending, Error> {
    let Places { source, target, certificates: _certificates } = places;
    say(&servers.introduce(&source)?);
    let plan =
        Plan { max_retries: config.max_retries, complete: local.complete || config.tombstone };
    let source = servers.connect(&source)?;
    let mut composition = match (config.sink, target) {
        (SinkConfig::Postgres(sink), Target::Server(place)) => {
            say(&servers.introduce(&place)?);
            let surroundings = Surroundings {
                target: servers.connect(&place)?,
                source: source.clone(),
                stream: config.identity.clone(),
                everything: config.source.everything,
                program_directories: files::program_directories(&local.program_path),
            };
            let sink = Box::new(sink.options(surroundings));
            let source = Box::new(config.source.options(source, &local.data_dir));
            Composition::Postgres { source, sink, claim: Claim::default() }
        }
        (SinkConfig::CloudEvent(sink), Target::Endpoint(EndpointSecrets { headers, ca })) => {
            let CloudEventConfig { events, endpoint } = *sink;
            Composition::CloudEvent {
                source: Box::new(config.source.options(source, &local.data_dir)),
                events: Box::new(events),
                endpoint: Box::new(EndpointOptions {
                    headers,
                    reread: again(&local.files),
                    ca,
                    ..endpoint
                }),
                directory: local.data_dir.clone(),
            }
        }
        (SinkConfig::Postgres(_), Target::Endpoint(_))
        | (SinkConfig::CloudEvent(_), Target::Server(_)) => {
            return Err(supervise::unexpected(
                "target and configuration are of different kinds: report it",
            ));
        }
    };
    let stats = Stats::default();
    let numbers = stats.subscribe();
    let ended = tokio::select! {
        ended = supervise::run(&mut composition, plan, &stats, signals) => ended,
        never = screen.show(numbers.clone()) => match never {},
    };
    screen.clear();
    say(&farewell(&config.identity, ended.as_ref(), &numbers.borrow(), &local.command));
    ended
}

/// Reads the headers of `files` again; not those of the standard input, which is gone.
fn again(files: &[PathBuf]) -> Option<Reread> {
    let is_gone = files.iter().any(|file| args::is_standard_input(file.as_os_str()));
    let files = files.to_vec();
    (!is_gone).then(|| {
        Reread::new(move || {
            let documents = read(&files).ok()?;
            resolve::headers(only_stream(&documents).ok()?, &documents)
        })
    })
}

/// The last line: how the stream ended, and how it goes on.
fn farewell(
    identity: &str,
    ended: Result<&Ending, &Error>,
    stats: &StreamStats,
    command: &str,
) -> String {
    let position = match stats.confirmed.get() {
        0 => "before it followed the log".to_owned(),
        _ => format!("at LSN {}", stats.confirmed),
    };
    match ended {
        Ok(Ending::Completed) => {
            format!("stream {identity} is complete: {} changes delivered", stats.changes)
        }
        Ok(Ending::Interrupted | Ending::Terminated) => {
            format!("stream {identity} stopped {position}; go on with: {command}")
        }
        Err(_) => format!(
            "stream {identity} failed {position}; once the cause is gone, go on with: {command}"
        ),
    }
}

/// Reads the files on a thread that may be left behind: the standard input can keep it for ever.
async fn documents(paths: Vec<PathBuf>) -> Result<Documents, Error> {
    let (answer, documents) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || answer.send(read(&paths)));
    documents.await.map_err(|error| Error::new(ErrorKind::Permanent, error))?
}

fn read(paths: &[PathBuf]) -> Result<Documents, Error> {
    let files = files::read(paths)?;
    stream_api::load(&files).map_err(|problems| Error::new(ErrorKind::Configuration, problems))
}

fn only_stream(documents: &Documents) -> Result<&SGStream, Error> {
    let streams: Vec<_> = documents.streams().collect();
    match *streams.as_slice() {
        [stream] => Ok(stream),
        [] => Err(files::no_stream()),
        [..] => {
            let names: Vec<_> = streams
                .iter()
                .map(|stream| format!("`{}/{}`", names::namespace(stream), names::name(stream)))
                .collect();
            Err(several_streams(&names.join(", ")))
        }
    }
}

/// A process runs one stream, and the files have several.
///
/// Remedy: start a worker for each, with files and a `--data-dir` of its own.
fn several_streams(names: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!(
            "more than one document is an SGStream: {names}; a process runs one stream: start one for each, with files of its own \
             and a `--data-dir` of its own"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_runs_one_stream() {
        let stream = |name: &str| {
            format!(
                "---\napiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: {name}}}\nspec:\n  \
                 source: {{type: SGCluster, sgCluster: {{name: a}}}}\n  target: {{type: SGCluster, sgCluster: \
                 {{name: b}}}}\n  pods: {{persistentVolume: {{size: 1Gi}}}}\n"
            )
        };
        let load = |text: String| stream_api::load(&[("f".to_owned(), text)]).unwrap();
        assert_eq!(
            only_stream(&load(stream("one"))).unwrap().metadata.name.as_deref(),
            Some("one")
        );
        let two = load(stream("one") + &stream("two"));
        let error = only_stream(&two).unwrap_err().to_string();
        assert!(error.contains("`default/one`") && error.contains("`default/two`"), "{error}");
        assert!(only_stream(&Documents::default()).is_err());
    }
}
