//! One private server, from `initdb` to its end.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio_postgres::error::SqlState;

use super::account::Account;
use super::address::{free_port, is_free, percent_encoded};
use super::options::{DataDirectory, ServerOptions, Shutdown};
use super::process::{self, Process};
use super::{Binaries, ServerError, directory};
use crate::sql::Ident;

/// How long a server may take until it accepts connections; recovery after a crash included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to stop before the next harder signal.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often another free port is tried when somebody else was faster.
const PORT_ATTEMPTS: usize = 10;
/// The longest path of a Unix socket that every system takes.
const SOCKET_PATH_BYTES: usize = 100;
/// Lines of the log that an error carries.
const LOG_LINES: usize = 15;
/// The superuser, which is also the name of its database.
const SUPERUSER: &str = "postgres";

/// A running server of our own; dropping it stops it.
pub struct Server {
    options: ServerOptions,
    account: Account,
    home: PathBuf,
    password: String,
    port: u16,
    process: Option<Process>,
    /// Held, not read: the lock on the home lasts as long as this file is open.
    _lock: File,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    ///
    /// Blocks for a second or two. A kept directory is resumed; a server that a killed owner left
    /// running there is stopped first.
    ///
    /// # Errors
    ///
    /// [`ServerError::InUse`] when a living process runs a server there,
    /// [`ServerError::OtherMajor`] when the data there is of another version,
    /// [`ServerError::Initdb`] and [`ServerError::Start`] with the end of the log when PostgreSQL
    /// itself fails, [`ServerError::Io`] for files and programs.
    pub fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let account = Account::for_servers()?;
        let home = match &options.data {
            DataDirectory::Temporary => directory::temporary(account)?,
            DataDirectory::Kept(wanted) => directory::reachable_directory(wanted)?,
        };
        directory::close(&home, account)?;
        let lock = directory::lock(&home)?;
        let (password, port, process) = (String::new(), 0, None);
        // From here on `drop` cleans up after a failure.
        let mut server = Self { options, account, home, password, port, process, _lock: lock };
        server.initialize()?;
        server.launch_on_free_port()?;
        Ok(server)
    }

    /// The address of `database`, with user and password, for clients that take a URL.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let (password, port) = (&self.password, self.port);
        let database = percent_encoded(database);
        format!("postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}")
    }

    /// The port on 127.0.0.1; it stays the same while this value lives.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's name.
    #[must_use]
    pub const fn user(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password: 32 hexadecimal digits.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's process id; `None` while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The major version, such as 15.
    #[must_use]
    pub const fn major(&self) -> u16 {
        self.options.binaries.major
    }

    /// The installation the server runs from.
    #[must_use]
    pub const fn binaries(&self) -> &Binaries {
        &self.options.binaries
    }

    /// The directory with the data, the log and the password.
    ///
    /// Not always the wanted one, see [`reachable_directory`](super::reachable_directory).
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.home
    }

    /// The directory of the Unix socket; `None` where its path would be too long for one.
    #[must_use]
    pub fn socket_dir(&self) -> Option<&Path> {
        let longest = self.home.join(".s.PGSQL.65535");
        (longest.as_os_str().len() < SOCKET_PATH_BYTES).then_some(&*self.home)
    }

    /// Creates `database` unless it exists.
    ///
    /// # Errors
    ///
    /// [`ServerError::Sql`] when the server cannot be reached or refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the database either made or not.
    pub async fn create_database(&self, database: &str) -> Result<(), ServerError> {
        let statement = format!("CREATE DATABASE {}", Ident(database));
        match self.run(SUPERUSER, &statement).await {
            // The second code is what the loser of a race between two creators gets.
            Err(error)
                if [SqlState::DUPLICATE_DATABASE, SqlState::UNIQUE_VIOLATION]
                    .iter()
                    .any(|state| error.code() == Some(state)) =>
            {
                Ok(())
            }
            other => other.map_err(|error| self.sql_error(SUPERUSER, &error)),
        }
    }

    /// Runs `statements` in `database` on a connection of its own.
    ///
    /// # Errors
    ///
    /// [`ServerError::Sql`] when the server cannot be reached or a statement fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the server may still run the statement to its
    /// end.
    pub async fn execute(&self, database: &str, statements: &str) -> Result<(), ServerError> {
        self.run(database, statements).await.map_err(|error| self.sql_error(database, &error))
    }

    /// Stops the server if it runs; [`restart`](Self::restart) starts it again.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] when the process cannot be signalled.
    pub fn stop(&mut self, how: Shutdown) -> Result<(), ServerError> {
        self.end(match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        })
    }

    /// Kills the server with `SIGKILL`, and its sessions where the system tells which they are: all end at once, as when the power fails.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] when the process cannot be signalled.
    pub fn kill9(&mut self) -> Result<(), ServerError> {
        self.end(Signal::KILL)
    }

    /// Stops the server if it runs, and starts it again on the same port.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop) and [`start`](Self::start).
    pub fn restart(&mut self, how: Shutdown) -> Result<(), ServerError> {
        self.stop(how)?;
        self.launch()
    }

    fn is_temporary(&self) -> bool {
        self.options.data == DataDirectory::Temporary
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    fn end(&mut self, signal: Signal) -> Result<(), ServerError> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.stop(signal, STOP_TIMEOUT).map_err(ServerError::io(&self.home))
    }

    /// Makes the data and the password, or takes over what an earlier start made.
    fn initialize(&mut self) -> Result<(), ServerError> {
        let (data, log) = (self.data(), self.log());
        let _ = fs::remove_file(&log);
        let password_file = self.home.join("password");
        if data.exists() {
            let version_file = data.join("PG_VERSION");
            let found = fs::read_to_string(&version_file)
                .map_err(ServerError::io(&version_file))?
                .trim()
                .to_owned();
            if found != self.major().to_string() {
                let (path, server) = (self.home.clone(), self.major());
                return Err(ServerError::OtherMajor { path, found, server });
            }
            self.password =
                fs::read_to_string(&password_file).map_err(ServerError::io(&password_file))?;
            return process::stop_stale(&data, STOP_TIMEOUT).map_err(ServerError::io(&data));
        }
        self.password = directory::random_hex()?;
        self.write_private(&password_file, &self.password)?;
        self.initdb(&password_file)
    }

    fn initdb(&self, password_file: &Path) -> Result<(), ServerError> {
        // Made beside and renamed, so that a `data` that exists is complete.
        let unfinished = self.home.join("data.new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(ServerError::io(&unfinished))?;
        }
        let program = self.options.binaries.dir.join("initdb");
        let mut initdb = self.account.command(&program);
        initdb.current_dir(&self.home).arg("--pgdata").arg(&unfinished);
        initdb.args(["--encoding=UTF8", "--no-locale", "--auth=scram-sha-256"]);
        initdb.arg(format!("--username={SUPERUSER}")).arg("--pwfile").arg(password_file);
        if self.is_temporary() {
            initdb.arg("--no-sync");
        }
        let output = initdb.output().map_err(ServerError::io(&program))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(ServerError::Initdb { path: self.home.clone(), output });
        }
        let data = self.data();
        fs::rename(&unfinished, &data).map_err(ServerError::io(&data))
    }

    /// Launches on the port of last time, or on free ones until one is not snatched away.
    fn launch_on_free_port(&mut self) -> Result<(), ServerError> {
        let port_file = self.home.join("port");
        let last = fs::read_to_string(&port_file).ok().and_then(|port| port.parse().ok());
        self.port = match last {
            Some(port) if is_free(port) => port,
            _ => free_port()?,
        };
        let mut attempts = 1..PORT_ATTEMPTS;
        while let Err(error) = self.launch() {
            if is_free(self.port) || attempts.next().is_none() {
                return Err(error);
            }
            self.port = free_port()?;
        }
        self.write_private(&port_file, &self.port.to_string())
    }

    fn launch(&mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + START_TIMEOUT;
        let program = self.options.binaries.dir.join("postgres");
        let signal = if self.is_temporary() { "QUIT" } else { "INT" };
        let remove = self.is_temporary().then_some(&*self.home);
        let mut command = vec![program.to_string_lossy().into_owned()];
        command.extend(["-D".to_owned(), self.data().to_string_lossy().into_owned()]);
        for (name, value) in self.own_settings().iter().chain(&self.options.settings) {
            command.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        loop {
            let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.log());
            let log = log.map_err(ServerError::io(&self.home))?;
            let mut shell = self.account.command(Path::new("sh"));
            shell.current_dir(&self.home);
            let mut process = Process::start(shell, &command, signal, remove, log)
                .map_err(ServerError::io(&program))?;
            let Err(reason) = process.wait_ready(&self.data(), deadline) else {
                self.process = Some(process);
                return Ok(());
            };
            let _ = process.stop(Signal::QUIT, STOP_TIMEOUT);
            let log = self.log_end();
            // After a `kill -9` the sessions of the killed server take a moment to notice.
            if log.contains("is still in use") && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(100));
                continue;
            }
            return Err(ServerError::Start { path: self.home.clone(), reason, log });
        }
    }

    fn own_settings(&self) -> Vec<(String, String)> {
        let socket_dir = self.socket_dir().map(|dir| dir.to_string_lossy().into_owned());
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("port".to_owned(), self.port.to_string()),
            ("unix_socket_directories".to_owned(), socket_dir.unwrap_or_default()),
        ];
        let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
        set("wal_level", "logical");
        set("max_wal_senders", "20");
        set("max_replication_slots", "20");
        if self.is_temporary() {
            set("fsync", "off");
            set("full_page_writes", "off");
        }
        settings
    }

    fn log_end(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<_> = log.lines().rev().take(LOG_LINES).collect();
        lines.reverse();
        lines.join("\n")
    }

    /// Writes a file that only the server's user, and root, can read.
    fn write_private(&self, path: &Path, text: &str) -> Result<(), ServerError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(ServerError::io(path))?;
        self.account.own(path)
    }

    async fn run(&self, database: &str, statements: &str) -> Result<(), tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(SUPERUSER).password(&self.password);
        let (client, connection) = config.dbname(database).connect(tokio_postgres::NoTls).await?;
        tokio::select! {
            // Ends before the statements only by an error.
            ended = connection => ended,
            done = client.batch_execute(statements) => done,
        }
    }

    fn sql_error(&self, database: &str, error: &tokio_postgres::Error) -> ServerError {
        let reason = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
        ServerError::Sql { database: database.to_owned(), port: self.port, reason }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let temporary = self.is_temporary();
        // There is nobody to tell; the lock and `stop_stale` cover whatever is left.
        let _ = self.stop(if temporary { Shutdown::Immediate } else { Shutdown::Fast });
        if temporary {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("data_dir", &self.home)
            .field("port", &self.port)
            .field("major", &self.major())
            .field("pid", &self.pid())
            .field("password", &"<redacted>")
            .finish()
    }
}
