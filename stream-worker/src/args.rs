//! The command line and the environment: nothing else reads either of them.
//!
//! In: arguments and variables. Out: a [`Task`], or everything that is wrong with them. An argument can hold a password,
//! so that no message repeats one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand, ValueEnum};
use stream_core::postgres::options::OptionsError;
use stream_core::postgres::{ConnectOptions, Password};

/// What the process is to do.
pub(crate) enum Task {
    /// Run a stream on this machine.
    Local(Local),
    /// Look for mistakes, and run nothing.
    Validate(Validate),
}

/// What to look at.
pub(crate) struct Validate {
    /// YAML files; `-` is the standard input.
    pub(crate) files: Vec<PathBuf>,
    /// Whether to print the configuration with what is left out filled in.
    pub(crate) effective: bool,
    /// Whether to ask the servers.
    pub(crate) connect: bool,
    /// Where clusters are, and how one logs in.
    pub(crate) logins: Logins,
    /// Where client programs are looked for, before the usual places.
    pub(crate) program_path: OsString,
    /// What the user should know about the arguments.
    pub(crate) warnings: Vec<String>,
}

/// Where clusters are, and how one logs in.
pub(crate) struct Logins {
    /// Addresses of clusters, by name.
    pub(crate) clusters: BTreeMap<String, ClusterUrl>,
    /// Where passwords come from that nobody gave.
    pub(crate) passwords: Passwords,
}

/// How to run a stream on this machine.
pub(crate) struct Local {
    /// YAML files; `-` is the standard input.
    pub(crate) files: Vec<PathBuf>,
    /// Where clusters are, and how one logs in.
    pub(crate) logins: Logins,
    /// SQL files that fill throw-away clusters, by the cluster's name.
    pub(crate) init: BTreeMap<String, PathBuf>,
    /// Where throw-away clusters keep their data.
    pub(crate) data_dir: PathBuf,
    /// Whether to end once all that the source holds now is delivered.
    pub(crate) complete: bool,
    /// Where server and client programs are looked for, before the usual places.
    pub(crate) program_path: OsString,
    /// The form of log lines.
    pub(crate) log_format: LogFormat,
    /// The command that goes on with the stream, without passwords.
    pub(crate) command: String,
    /// What the user should know about the arguments.
    pub(crate) warnings: Vec<String>,
}

/// The address of a cluster.
pub(crate) struct ClusterUrl {
    /// The address; user and database are `postgres` where the URL has none.
    pub(crate) connect: ConnectOptions,
    /// The database that the URL names.
    pub(crate) database: Option<String>,
}

/// Where passwords come from that nobody gave.
pub(crate) struct Passwords {
    /// `PGPASSWORD`.
    pub(crate) variable: Option<Password>,
    /// `PGPASSFILE`, or `.pgpass` in the home directory.
    pub(crate) file: Option<PathBuf>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Runs streams that copy a PostgreSQL database and follow its changes.
#[derive(Parser)]
#[command(name = "stream-worker", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    /// Runs the stream of YAML files on this machine, without Kubernetes
    ///
    /// Starts a throw-away PostgreSQL for each SGCluster document that no --cluster names. Ctrl-C stops; the same
    /// command goes on. Exit codes: 0 done or stopped, 1 failed, 2 bad input, 3 another worker runs the stream, 143
    /// terminated.
    Local(LocalFlags),
    /// Looks for mistakes in the streams of YAML files; runs nothing and changes nothing
    ///
    /// Tells every mistake with its file, line and path, by the rules of a cluster that has the resource's definition.
    /// Exit codes: 0 nothing stands in the way, 1 a server could not be asked, 2 something has to be changed.
    Validate(ValidateFlags),
}

/// Which files, and where their clusters are.
#[derive(clap::Args)]
struct Flags {
    /// File with documents of kind SGStream, SGCluster, Secret and ConfigMap; `-` is the standard input
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Address of an SGCluster: a `postgres://` URL, `env:VARIABLE` or `@FILE` that hold one
    #[arg(long = "cluster", value_name = "NAME=URL")]
    clusters: Vec<String>,
    /// Where programs of PostgreSQL are looked for, before STREAM_POSTGRES_DIRS, STREAM_POSTGRES_CLIENTS, PATH
    #[arg(long = "postgres-dir", value_name = "DIR")]
    postgres_dirs: Vec<PathBuf>,
}

#[derive(clap::Args)]
struct LocalFlags {
    #[command(flatten)]
    common: Flags,
    /// SQL file that fills a throw-away cluster, once
    #[arg(long, value_name = "NAME=FILE")]
    init: Vec<String>,
    /// Where throw-away clusters keep their data
    #[arg(long, value_name = "DIR", default_value = "stream-data")]
    data_dir: PathBuf,
    /// Deliver all that the source holds now, synchronise sequences, remove slot and publication, and end
    #[arg(long)]
    complete: bool,
    /// Form of log lines; default: text on a terminal, json otherwise
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(clap::Args)]
struct ValidateFlags {
    #[command(flatten)]
    common: Flags,
    /// Print each stream as it would run: what is left out filled in, and what has no effect marked
    #[arg(long)]
    effective: bool,
    /// Ask source and target too, without changing them: settings, rights, keys, types, and what would be captured
    #[arg(long)]
    connect: bool,
}

/// Reads arguments and environment. Ends the process after `--help` and after arguments that nobody knows.
pub(crate) fn parse() -> anyhow::Result<Task> {
    #[cfg(feature = "failpoints")]
    arm()?;
    let CommandLine { command } = CommandLine::parse();
    match command {
        Commands::Local(flags) => local(flags).map(Task::Local),
        Commands::Validate(flags) => validate(flags).map(Task::Validate),
    }
}

/// Reads `STREAM_FAILPOINT`, such as `Written 3`: the process dies when it comes by that step for the third time.
#[cfg(feature = "failpoints")]
fn arm() -> anyhow::Result<()> {
    use stream_core::failpoint::{Step, arm};
    let Some(value) = env::var_os("STREAM_FAILPOINT") else { return Ok(()) };
    let value = value.to_string_lossy();
    let parsed = value.split_once(' ').and_then(|(name, times)| {
        let step = Step::ALL.into_iter().find(|step| format!("{step:?}") == name)?;
        Some((step, times.parse().ok()?))
    });
    let (step, times) = parsed.with_context(|| {
        format!("STREAM_FAILPOINT is `{value}`: write a step and a number, as in `Written 3`")
    })?;
    arm(step, times);
    Ok(())
}

fn local(flags: LocalFlags) -> anyhow::Result<Local> {
    let LocalFlags { common, init, data_dir, complete, log_format } = flags;
    let mut problems = Vec::new();
    let Common { files, logins, program_path, warnings } = common.read(&mut problems);
    let init = named("--init", "FILE.sql", &init, &mut problems);
    if !problems.is_empty() {
        bail!(problems.join("\n"));
    }
    let default_format =
        if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    Ok(Local {
        files,
        logins,
        init: init.into_iter().map(|(name, file)| (name, file.into())).collect(),
        data_dir,
        complete,
        program_path,
        log_format: log_format.unwrap_or(default_format),
        command: env::args()
            .map(|argument| quoted(&shown(&argument)))
            .collect::<Vec<_>>()
            .join(" "),
        warnings,
    })
}

fn validate(flags: ValidateFlags) -> anyhow::Result<Validate> {
    let ValidateFlags { common, effective, connect } = flags;
    let mut problems = Vec::new();
    let Common { files, logins, program_path, warnings } = common.read(&mut problems);
    if !problems.is_empty() {
        bail!(problems.join("\n"));
    }
    Ok(Validate { files, effective, connect, logins, program_path, warnings })
}

/// What [`Flags`] say.
struct Common {
    files: Vec<PathBuf>,
    logins: Logins,
    program_path: OsString,
    warnings: Vec<String>,
}

impl Flags {
    fn read(self, problems: &mut Vec<String>) -> Common {
        let Self { files, clusters, postgres_dirs } = self;
        let mut warnings = Vec::new();
        if clusters.iter().any(|argument| shown(argument) != *argument) {
            warnings.push(
                "a password in an argument can be read by everybody on this machine: give the address as \
                 `--cluster NAME=env:VARIABLE` or `--cluster NAME=@FILE`"
                    .to_owned(),
            );
        }
        let clusters = named("--cluster", "postgres://user@host:port/", &clusters, problems)
            .into_iter()
            .filter_map(|(name, value)| {
                let url = cluster_url(&value).with_context(|| format!("--cluster {name}"));
                url.map_err(|error| problems.push(format!("{error:#}"))).ok().map(|url| (name, url))
            })
            .collect();
        for directory in postgres_dirs.iter().filter(|directory| !directory.is_dir()) {
            problems.push(format!(
                "--postgres-dir `{}` is no directory: name one with programs of PostgreSQL",
                directory.display()
            ));
        }
        let logins = Logins { clusters, passwords: passwords() };
        Common { files, logins, program_path: program_path(postgres_dirs), warnings }
    }
}

/// Divides each argument `NAME=VALUE` of `flag`.
fn named(
    flag: &str,
    example: &str,
    arguments: &[String],
    problems: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut named = BTreeMap::new();
    for argument in arguments {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        };
        match argument.split_once('=').filter(|(name, value)| is_name(name) && !value.is_empty()) {
            Some((name, value)) => {
                if named.insert(name.to_owned(), value.to_owned()).is_some() {
                    problems.push(format!("{flag} is given twice for `{name}`: keep one"));
                }
            }
            None => problems.push(format!(
                "{flag} `{}` does not begin with the name of an SGCluster: write `{flag} NAME={example}`",
                shown(argument)
            )),
        }
    }
    named
}

fn cluster_url(value: &str) -> anyhow::Result<ClusterUrl> {
    if let Some(name) = value.strip_prefix("env:") {
        let url = env::var(name).ok().filter(|url| !url.is_empty());
        let url = url.with_context(|| {
            format!("environment variable `{name}` holds no text: set it to a connection URL")
        })?;
        return parse_url(&url).with_context(|| format!("environment variable `{name}`"));
    }
    if let Some(path) = value.strip_prefix('@') {
        let url = fs::read_to_string(path).with_context(|| {
            format!("cannot read `{path}`: name a file that holds a connection URL")
        })?;
        return parse_url(url.trim()).with_context(|| format!("file `{path}`"));
    }
    parse_url(value).context("write a connection URL, `env:VARIABLE` or `@FILE`")
}

/// Reads a URL; user and database may be missing.
fn parse_url(url: &str) -> anyhow::Result<ClusterUrl> {
    let mut text = url.to_owned();
    let mut names_database = true;
    loop {
        let parameter = match text.parse::<ConnectOptions>() {
            Ok(connect) => {
                let database = names_database.then(|| connect.database.clone());
                return Ok(ClusterUrl { connect, database });
            }
            Err(OptionsError::Missing("user")) => "user=postgres",
            Err(OptionsError::Missing("database")) => {
                names_database = false;
                "dbname=postgres"
            }
            Err(error) => return Err(error.into()),
        };
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(parameter);
    }
}

/// The directories of programs, as a list like `PATH`.
fn program_path(mut directories: Vec<PathBuf>) -> OsString {
    for variable in ["STREAM_POSTGRES_DIRS", "STREAM_POSTGRES_CLIENTS", "PATH"] {
        directories.extend(env::var_os(variable).iter().flat_map(env::split_paths));
    }
    // A directory with a `:` in its name cannot be in such a list.
    env::join_paths(
        directories.iter().filter(|path| !path.as_os_str().as_encoded_bytes().contains(&b':')),
    )
    .unwrap_or_default()
}

fn passwords() -> Passwords {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    Passwords {
        variable: set("PGPASSWORD").and_then(|text| text.into_string().ok()).map(Password::new),
        file: set("PGPASSFILE")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".pgpass"))),
    }
}

/// An argument without the password of a URL in it.
fn shown(argument: &str) -> String {
    let Some((before, rest)) = argument.split_once("://") else { return argument.to_owned() };
    // The last `@`, because one that is not encoded can be in the password.
    let (login, address) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
    let user = login.split(':').next().unwrap_or_default();
    let colon = if login.contains(':') { ":…" } else { "" };
    let at = if rest.contains('@') { "@" } else { "" };
    let address = match address.split_once("password=") {
        Some((start, end)) => {
            let rest = end.find('&').and_then(|at| end.get(at..)).unwrap_or_default();
            format!("{start}password=…{rest}")
        }
        None => address.to_owned(),
    };
    format!("{before}://{user}{colon}{at}{address}")
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@,+%…".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

/// The value of an environment variable that a header asks for. An empty one is none: `TOKEN=` in a file is most often forgotten.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether `path` means the standard input.
pub(crate) fn is_standard_input(path: &OsStr) -> bool {
    path == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shown_without_passwords() {
        for (argument, expected) in [
            ("a=postgres://u:se:cr@et@h:1/d", "a=postgres://u:…@h:1/d"),
            (
                "a=postgres://u@h/d?password=secret&sslmode=disable",
                "a=postgres://u@h/d?password=…&sslmode=disable",
            ),
            ("a=postgres://h/d?password=secret", "a=postgres://h/d?password=…"),
            ("a=postgres://u@h/d", "a=postgres://u@h/d"),
            ("--data-dir", "--data-dir"),
        ] {
            assert_eq!(shown(argument), expected);
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn user_and_database_of_a_cluster_are_postgres_unless_the_url_has_them() {
        for (url, expected, database) in [
            ("postgres://h", "postgres@h:5432/postgres", None),
            ("postgres://u@h/", "u@h:5432/postgres", None),
            ("postgres://h/d?sslmode=disable", "postgres@h:5432/d", Some("d")),
        ] {
            let parsed = parse_url(url).unwrap();
            assert_eq!(parsed.connect.to_string(), expected, "{url}");
            assert_eq!(parsed.database.as_deref(), database, "{url}");
        }
        assert!(parse_url("postgres:///d").is_err());
    }

    #[test]
    fn an_argument_without_a_name_is_refused_without_its_password() {
        for argument in ["postgres://u:secret@h/d?sslmode=x", "=postgres://u:secret@h", "a", "a="] {
            let mut problems = Vec::new();
            assert!(named("--cluster", "URL", &[argument.to_owned()], &mut problems).is_empty());
            let problem = problems.concat();
            assert!(
                problem.contains("--cluster NAME=") && !problem.contains("secret"),
                "{problem}"
            );
        }
    }
}
