//! Throwaway servers: they start, stop, come back with their data, and never outlive their owner.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use stream_core::postgres::SqlClient;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::throwaway::{Binaries, Server, ServerError, ServerOptions, Shutdown};

/// The one value of `query` in `database`.
async fn value(server: &Server, database: &str, query: &str) -> String {
    let (client, connection) =
        tokio_postgres::connect(&server.url(database), tokio_postgres::NoTls).await.unwrap();
    tokio::select! {
        ended = connection => panic!("the connection ended: {ended:?}"),
        row = client.query_one(query, &[]) => row.unwrap().get(0),
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the process lives; one that ended and waits for its parent does not.
fn is_alive(pid: &str) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// A directory for kept data that ordinary users can reach.
fn reachable_tempdir() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), everybody).unwrap();
    directory
}

#[tokio::test]
async fn every_installed_version_starts_ready_for_logical_replication() {
    for major in testing::majors() {
        let server = testing::server(major);
        let version = value(server, "postgres", "SHOW server_version_num").await;
        assert!(version.starts_with(&major.to_string()), "{version}");
        assert_eq!(value(server, "postgres", "SHOW wal_level").await, "logical");
        assert_eq!(value(server, "postgres", "SHOW server_encoding").await, "UTF8");
        assert!(std::ptr::eq(server, testing::server(major)), "the second call shares the first's");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let server = testing::server(testing::oldest_major());
    let url = server.url("postgres").replace(server.password(), "guess");
    let refused = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    assert!(refused.is_err_and(|error| error.as_db_error().is_some()));
}

#[tokio::test]
async fn a_database_can_be_created_twice_and_at_once() {
    let server = testing::server(testing::oldest_major());
    let name = r#"odd "name"/?"#;
    let (first, second) = tokio::join!(server.create_database(name), server.create_database(name));
    first.unwrap();
    second.unwrap();
    server.create_database(name).await.unwrap();
    assert_eq!(value(server, name, "SELECT current_database()::text").await, name);
}

#[tokio::test]
async fn a_test_database_goes_with_its_slots_even_while_they_are_used() {
    let server = testing::server(testing::oldest_major());
    let database = TestDatabase::create(server).await.unwrap();
    let name = database.name().to_owned();
    let slot = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
    database.execute(&slot).await.unwrap();
    let mut follower = Command::new(testing::client("pg_recvlogical", server.major()).path)
        .args(["--start", "--slot", &name, "--dbname", &database.url(), "--file=-", "--no-loop"])
        .args(["--option=proto_version=1", "--option=publication_names=none"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let active =
        format!("SELECT active::text FROM pg_replication_slots WHERE slot_name = '{name}'");
    while value(server, "postgres", &active).await != "true" {
        assert!(follower.try_wait().unwrap().is_none(), "the follower ended");
        tokio::task::yield_now().await;
    }
    drop(database);
    follower.wait().unwrap();
    for table in ["pg_replication_slots WHERE slot_name", "pg_database WHERE datname"] {
        let left = format!("SELECT count(*)::text FROM {table} = '{name}'");
        assert_eq!(value(server, "postgres", &left).await, "0", "{table}");
    }
}

#[tokio::test]
async fn a_killed_server_comes_back_on_the_same_port_with_its_data() {
    let mut server = testing::private_server(testing::oldest_major(), &[("work_mem", "1MB")]);
    server.execute("postgres", "CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();
    let (port, pid) = (server.port(), server.pid());
    let busy = SqlClient::connect(&server.url("postgres").parse().unwrap()).await.unwrap();
    let long =
        "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '90 s' LOOP END LOOP; END $$";
    let is_busy =
        "SELECT count(*)::text FROM pg_stat_activity WHERE query ~ '^DO' AND state = 'active'";
    let until_busy = async {
        while value(&server, "postgres", is_busy).await == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        ended = busy.batch_execute(long) => panic!("it is not busy: {ended:?}"),
        () = until_busy => {}
    }
    server.kill9().unwrap();
    assert_eq!(server.pid(), None);
    server.restart(Shutdown::Fast).unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    assert_eq!(value(&server, "postgres", "SELECT n::text FROM kept").await, "7");
    assert_eq!(value(&server, "postgres", "SHOW work_mem").await, "1MB");
    server.restart(Shutdown::Immediate).unwrap();
    assert_eq!(value(&server, "postgres", "SELECT n::text FROM kept").await, "7");
}

#[tokio::test]
async fn a_kept_server_resumes_with_data_password_and_port() {
    for major in testing::majors() {
        let directory = reachable_tempdir();
        let options =
            ServerOptions::kept(testing::binaries(major), directory.path().join("deep/orders"));
        let server = Server::start(options.clone()).unwrap();
        server.create_database("orders").await.unwrap();
        server.execute("orders", "CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();
        let (url, log) = (server.url("orders"), server.data_dir().join("log"));
        drop(server);
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("database system is shut down"), "not a clean end: {log}");

        let server = Server::start(options).unwrap();
        assert_eq!(server.url("orders"), url);
        assert_eq!(value(&server, "orders", "SELECT n::text FROM kept").await, "7");
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = reachable_tempdir();
    let binaries = testing::binaries(testing::oldest_major());
    let options = ServerOptions::kept(binaries, directory.path().join("data"));
    let server = Server::start(options.clone()).unwrap();
    let error = Server::start(options).unwrap_err();
    assert!(matches!(error, ServerError::InUse { .. }), "{error}");
    assert!(is_alive(&server.pid().unwrap().to_string()));
}

#[test]
fn data_of_another_version_is_refused_by_name() {
    let directory = reachable_tempdir();
    fs::create_dir(directory.path().join("data")).unwrap();
    fs::write(directory.path().join("data/PG_VERSION"), "9.6\n").unwrap();
    let binaries = testing::binaries(testing::oldest_major());
    let options = ServerOptions::kept(binaries, directory.path().to_owned());
    let error = Server::start(options).unwrap_err();
    assert!(matches!(&error, ServerError::OtherMajor { found, .. } if found == "9.6"), "{error}");
}

#[test]
fn a_server_that_cannot_start_shows_its_log_and_leaves_nothing() {
    let binaries = testing::binaries(testing::oldest_major());
    let mut options = ServerOptions::temporary(binaries);
    options.settings = vec![("shared_buffers".to_owned(), "lots".to_owned())];
    let error = Server::start(options).unwrap_err();
    let ServerError::Start { path, log, .. } = error else { panic!("{error}") };
    assert!(log.contains("shared_buffers"), "{log}");
    assert!(!path.exists());
}

#[test]
fn the_password_is_not_printed() {
    let server = testing::server(testing::oldest_major());
    assert!(!format!("{server:?}").contains(server.password()));
}

#[test]
fn a_missing_server_is_named_with_the_remedy() {
    let panic = thread::spawn(|| testing::binaries(9)).join().unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("PostgreSQL server of version 9 was found"), "{message}");
    assert!(
        message.ends_with("(run `cargo xtask test`, or set STREAM_POSTGRES_DIRS)"),
        "{message}"
    );
}

/// Another process that owns a server.
struct Owner {
    process: Child,
    server_pid: String,
    data_dir: PathBuf,
}

impl Owner {
    fn start(binaries: &Binaries, directory: Option<&Path>) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_throwaway_owner"))
            .arg(&binaries.dir)
            .args(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (pid, data_dir) = line.trim().split_once(' ').unwrap();
        Self { process, server_pid: pid.to_owned(), data_dir: PathBuf::from(data_dir) }
    }

    fn kill9(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_server_ends_with_an_owner_killed_hard_and_takes_its_data_along() {
    for major in testing::majors() {
        let mut owner = Owner::start(&testing::binaries(major), None);
        assert!(is_alive(&owner.server_pid));
        assert!(owner.data_dir.join("data").exists());
        owner.kill9();
        wait_until("the server ends", || !is_alive(&owner.server_pid));
        wait_until("the data goes", || !owner.data_dir.exists());
    }
}

#[test]
fn a_kept_server_of_an_owner_killed_hard_can_be_taken_over_at_once() {
    for major in testing::majors() {
        let directory = reachable_tempdir();
        let binaries = testing::binaries(major);
        let mut owner = Owner::start(&binaries, Some(directory.path()));
        owner.kill9();
        let options = ServerOptions::kept(binaries, directory.path().to_owned());
        let server = Server::start(options).unwrap();
        assert!(!is_alive(&owner.server_pid));
        assert!(is_alive(&server.pid().unwrap().to_string()));
    }
}
