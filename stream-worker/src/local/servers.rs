//! Throw-away PostgreSQL servers of a stream.
//!
//! In: the places that are to be started. Out: running servers, with the stream's databases in them, filled once. They
//! keep their data below the data directory, so that the next start finds it, and stop with this process.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use stream_core::postgres::ConnectOptions;
use stream_core::sql::{Ident, Literal};
use stream_core::throwaway::{
    Binaries, Client, Server, ServerError, ServerOptions, Shutdown, reachable_directory,
};
use stream_core::{Error, ErrorKind};
use tokio::process::Command;
use tokio::task::{JoinSet, spawn_blocking};

use crate::args::Local;
use crate::resolve::{Login, Place, Places};
use crate::supervise::unexpected;

/// In a server's directory: it was filled, from the file that is named in it.
const FILLED: &str = "filled-from";

/// The throw-away servers of a stream.
pub(super) struct Servers {
    running: BTreeMap<String, Server>,
    /// Held, not read: the data directory is ours as long as this file is open.
    _lock: Option<File>,
}

impl Servers {
    /// Starts what `places` need, and fills it.
    ///
    /// # Errors
    /// When the data directory is in use, there is no PostgreSQL, a server does not start, or a file does not run.
    ///
    /// # Cancel safety
    /// Servers stop by themselves.
    pub(super) async fn start(
        namespace: &str,
        places: &Places,
        local: &Local,
    ) -> Result<Self, Error> {
        let wanted = versions(places);
        if wanted.is_empty() {
            return Ok(Self { running: BTreeMap::new(), _lock: None });
        }
        let lock = lock(&local.data_dir)?;
        let mut starting = JoinSet::new();
        for (cluster, version) in wanted {
            let directory = local.data_dir.join(format!("{namespace}.{cluster}"));
            let program_path = local.program_path.clone();
            starting.spawn_blocking(move || {
                let server =
                    start(&cluster, &version, directory, Binaries::find_all(Some(&program_path)));
                server.map(|server| (cluster, server))
            });
        }
        let mut running = BTreeMap::new();
        while let Some(started) = starting.join_next().await {
            let started = started.map_err(|error| Error::new(ErrorKind::Permanent, error))?;
            running.extend([started.map_err(failed)?]);
        }
        let servers = Self { running, _lock: Some(lock) };
        for place in places.servers() {
            servers.furnish(place, local).await?;
        }
        Ok(servers)
    }

    /// The line that tells the user where a place is.
    ///
    /// # Errors
    /// Never, once the servers run.
    pub(super) fn introduce(&self, place: &Place) -> Result<String, Error> {
        match place {
            Place::Given { title, connect } => {
                Ok(format!("{title}: postgres://{}@{}", connect.user, connect.server()))
            }
            Place::ThrowAway { cluster, database, .. } => {
                let server = self.server(cluster)?;
                Ok(format!(
                    "{cluster}: {} (throw-away PostgreSQL {}, data in {})",
                    server.url(database),
                    server.major(),
                    server.data_dir().display()
                ))
            }
        }
    }

    /// How to connect to a place.
    ///
    /// # Errors
    /// Never, once the servers run.
    pub(super) fn connect(&self, place: &Place) -> Result<ConnectOptions, Error> {
        match place {
            Place::Given { connect, .. } => Ok(connect.clone()),
            Place::ThrowAway { cluster, database, login, .. } => {
                let mut connect = superuser(self.server(cluster)?, database)?;
                if let Some(Login { user, password }) = login {
                    (connect.user, connect.password) = (user.clone(), Some(password.clone()));
                }
                Ok(connect)
            }
        }
    }

    /// Stops them, and waits for their end.
    pub(super) async fn stop(self) {
        let stopped = spawn_blocking(move || {
            for (cluster, mut server) in self.running {
                if let Err(error) = server.stop(Shutdown::Fast) {
                    tracing::warn!(cluster, %error, "the throw-away server did not stop");
                }
            }
        });
        // The servers stop by themselves if this thread does not.
        let _ = stopped.await;
    }

    fn server(&self, cluster: &str) -> Result<&Server, Error> {
        self.running
            .get(cluster)
            .ok_or_else(|| unexpected(format!("the server of `{cluster}` does not run: report it")))
    }

    /// Makes the stream's database, fills it at the first time, and makes the role that the stream logs in as.
    async fn furnish(&self, place: &Place, local: &Local) -> Result<(), Error> {
        let Place::ThrowAway { cluster, database, login, .. } = place else { return Ok(()) };
        let server = self.server(cluster)?;
        server.create_database(database).await.map_err(failed)?;
        fill_once(cluster, server, database, local).await?;
        if let Some(login) = login {
            server.execute(database, &role_sql(login)).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// The clusters to start, with their versions.
fn versions(places: &Places) -> BTreeMap<String, String> {
    places
        .servers()
        .filter_map(|place| match place {
            Place::Given { .. } => None,
            Place::ThrowAway { cluster, version, .. } => Some((cluster.clone(), version.clone())),
        })
        .collect()
}

/// The data directory is for one process at a time: another worker has it, or the system refuses it.
///
/// Remedy: end the other worker, mend the directory's rights, or name another directory with `--data-dir`.
fn lock(data_dir: &Path) -> Result<File, Error> {
    let failed = |error: std::io::Error| {
        let message = format!(
            "`{}` cannot be used for data: {error}; name another directory with `--data-dir`",
            data_dir.display()
        );
        Error::new(ErrorKind::Configuration, message)
    };
    fs::create_dir_all(data_dir).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(data_dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "`{}` is in use by another worker: end that one first, or name another directory with `--data-dir`",
                data_dir.display()
            ),
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Starts one server, of the version that made its data, else of the wanted one, else of the newest.
fn start(
    cluster: &str,
    version: &str,
    directory: PathBuf,
    installed: Vec<Binaries>,
) -> Result<Server, ServerError> {
    let made_by = reachable_directory(&directory)?.join("data/PG_VERSION");
    let made_by: Option<u16> =
        fs::read_to_string(made_by).ok().and_then(|major| major.trim().parse().ok());
    let wanted = version.split('.').next().and_then(|major| major.parse().ok());
    let is_installed = |major: u16| installed.iter().any(|binaries| binaries.major == major);
    let major = made_by.or_else(|| wanted.filter(|major| is_installed(*major)));
    let binaries = Binaries::choose(installed, major)?;
    if version != "latest" && wanted != Some(binaries.major) {
        tracing::warn!(
            "SGCluster `{cluster}` asks for PostgreSQL `{version}`, and its throw-away server is PostgreSQL {}",
            binaries.major
        );
    }
    Server::start(ServerOptions::kept(binaries, directory))
}

/// Fills a server unless that was done.
async fn fill_once(
    cluster: &str,
    server: &Server,
    database: &str,
    local: &Local,
) -> Result<(), Error> {
    let Some(file) = local.init.get(cluster) else { return Ok(()) };
    let mark = server.data_dir().join(FILLED);
    if let Ok(before) = fs::read_to_string(&mark) {
        tracing::info!(cluster, file = before, "was filled already, and is not filled again");
        return Ok(());
    }
    let doing = format!("--init {cluster}={}", file.display());
    fill(server, database, file, local).await.map_err(|error| error.context(&doing))?;
    fs::write(&mark, file.display().to_string()).map_err(|error| {
        Error::new(ErrorKind::Permanent, cannot_mark(&mark, &error)).context(&doing)
    })
}

/// A server was filled, and it cannot be noted that it was: the next start would fill it again.
///
/// Remedy: mend rights and space of the data directory, and delete the server's directory to start anew.
fn cannot_mark(mark: &Path, error: &std::io::Error) -> String {
    format!("the server is filled, but cannot write `{}`: {error}", mark.display())
}

/// A file of `--init` is run in one transaction, by `psql` where there is one: what it does not finish leaves nothing.
///
/// Remedy: correct the file that `--init` names, and start again: nothing of it was kept.
async fn fill(server: &Server, database: &str, file: &Path, local: &Local) -> Result<(), Error> {
    let text = fs::read_to_string(file).map_err(|error| {
        bad_input(format!("the file cannot be read: {error}; name a file with SQL statements"))
    })?;
    let Ok(psql) = Client::find("psql", server.major(), Some(&local.program_path)) else {
        return server.execute(database, &text).await.map_err(|error| bad_input(error.to_string()));
    };
    let mut command = std::process::Command::new(&psql.path);
    command.args(["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]);
    command.arg("--file").arg(file);
    // It needs no secret of ours but this login.
    command.env_clear().env("PATH", &local.program_path);
    superuser(server, database)?.configure_child(&mut command);
    // The user's statements expect a session as `psql` has it, not one of ours.
    command.env_remove("PGOPTIONS");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut command = Command::from(command);
    let output = command.kill_on_drop(true).output().await.map_err(|error| {
        bad_input(format!(
            "`{}` does not run: {error}; name another with `--postgres-dir`",
            psql.path.display()
        ))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(bad_input(format!(
        "{}; nothing of the file was kept: correct it and start again",
        said.trim()
    )))
}

/// Makes a role unless it is there: in a cluster of one's own the Secret's user exists, here nobody else makes it.
fn role_sql(Login { user, password }: &Login) -> String {
    let create = format!(
        "BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) THEN \
         CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}; END IF; END",
        Literal(user),
        Ident(user),
        Literal(password.expose())
    );
    format!("DO {}", Literal(&create))
}

fn superuser(server: &Server, database: &str) -> Result<ConnectOptions, Error> {
    server.url(database).parse().map_err(|error| Error::new(ErrorKind::Permanent, error))
}

/// What a server does not start for is most often the user's to change.
fn failed(error: ServerError) -> Error {
    let kind = match error {
        ServerError::NoServer { .. }
        | ServerError::NoClient { .. }
        | ServerError::InUse { .. }
        | ServerError::OtherMajor { .. } => ErrorKind::Configuration,
        ServerError::Version { .. }
        | ServerError::Io { .. }
        | ServerError::Initdb { .. }
        | ServerError::Start { .. }
        | ServerError::Sql { .. } => ErrorKind::Permanent,
    };
    Error::new(kind, error)
}

fn bad_input(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}
