//! Standbys: as the source, and promoted.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stream_core::ErrorKind;
use stream_core::pipeline::{Control, Outcome};
use stream_core::postgres::ConnectOptions;
use stream_core::stats::Phase;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::throwaway::{Server, ServerOptions, Shutdown};
use tempfile::TempDir;

use crate::fixture::{Stream, execute, logged, rows, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// What a standby needs to keep the slots of its primary too, as far as the server has it.
const SYNC: [(&str, &str); 2] = [("hot_standby_feedback", "on"), ("sync_replication_slots", "on")];

/// A primary and its standby, in a directory of theirs.
struct Servers {
    primary: Server,
    standby: Server,
    _directory: TempDir,
}

impl Servers {
    async fn start(major: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let mut primary = start(major, &directory.path().join("primary"), &[]);
        let slot = "SELECT pg_create_physical_replication_slot('standby', true)";
        primary.execute("postgres", slot).await.unwrap();
        primary.stop(Shutdown::Fast).unwrap();
        let home = directory.path().join("standby");
        let copied = Command::new("cp").arg("-a").arg(primary.data_dir()).arg(&home).status();
        assert!(copied.unwrap().success());
        std::fs::write(home.join("data/standby.signal"), "").unwrap();
        primary.restart(Shutdown::Fast).unwrap();
        let conninfo = format!(
            "host=127.0.0.1 port={} user={} password={} dbname=postgres",
            primary.port(),
            primary.user(),
            primary.password()
        );
        let mut settings = vec![("primary_conninfo", &*conninfo), ("primary_slot_name", "standby")];
        settings.extend(SYNC.iter().filter(|_| major >= 17));
        let standby = start(major, &home, &settings);
        Self { primary, standby, _directory: directory }
    }

    /// Waits until the standby keeps the stream's slot too, which takes changes to be confirmed.
    async fn synchronised(&self, stream: &Stream) {
        let standby: ConnectOptions = self.standby.url("postgres").parse().unwrap();
        let follow = stream.run_once(
            Phase::Streaming,
            async {
                let is_kept = "SELECT FROM pg_replication_slots WHERE synced AND NOT temporary";
                while rows(&standby, is_kept).await.is_empty() {
                    execute(
                        &stream.source,
                        "INSERT INTO ticks DEFAULT VALUES; SELECT pg_log_standby_snapshot()",
                    )
                    .await;
                }
            },
            Control::Stop,
        );
        assert_eq!(follow.await.unwrap(), Outcome::Stopped);
    }

    /// The primary is gone, and its standby takes its place.
    async fn fail_over(&mut self, stream: &mut Stream) {
        self.primary.stop(Shutdown::Immediate).unwrap();
        stream.source = self.standby.url(&stream.source.database).parse().unwrap();
        execute(&stream.source, "SELECT pg_promote()").await;
    }

    /// Waits until the standby has all that the primary has.
    async fn replayed(&self) {
        let primary: ConnectOptions = self.primary.url("postgres").parse().unwrap();
        let end = rows(&primary, "SELECT pg_current_wal_lsn()").await.concat();
        let end = end.trim_matches(['(', ')']);
        let question = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
        until(&self.standby.url("postgres").parse().unwrap(), &question, PATIENCE).await;
    }
}

fn start(major: u16, home: &Path, settings: &[(&str, &str)]) -> Server {
    let mut options = ServerOptions::kept(testing::binaries(major), home.to_owned());
    options.settings =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    options.settings.push(("fsync".to_owned(), "off".to_owned()));
    Server::start(options).unwrap()
}

/// Versions that have it, of those that are there.
fn majors_from(first: u16) -> Vec<u16> {
    let majors: Vec<_> = testing::majors().into_iter().filter(|major| *major >= first).collect();
    assert!(!majors.is_empty(), "no server of version {first} or newer is there");
    majors
}

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i;";

#[tokio::test]
async fn a_standby_is_copied_and_followed() {
    for major in majors_from(16) {
        let servers = Servers::start(major).await;
        let from = TestDatabase::create(&servers.primary).await.unwrap();
        let to = TestDatabase::create(testing::server(major)).await.unwrap();
        let keyless = "CREATE TABLE keyless (a int); INSERT INTO keyless VALUES (1)";
        let publication = format!("CREATE PUBLICATION {} FOR TABLE t, keyless", from.name());
        from.execute(&format!("{TABLE} {keyless}; {publication}")).await.unwrap();
        servers.replayed().await;
        let mut stream = Stream::new(&from, &to);
        let primary = stream.source;
        stream.source = servers.standby.url(from.name()).parse().unwrap();
        // What a standby cannot have is said, and does without.
        stream.failover = true;
        let mut seen = stream.stats.subscribe();
        let slot_can_begin = async {
            while seen.borrow_and_update().phase != Phase::Streaming {
                execute(&primary, "SELECT pg_log_standby_snapshot()").await;
                let _ = tokio::time::timeout(Duration::from_millis(100), seen.changed()).await;
            }
            std::future::pending::<()>().await;
        };
        let work = async {
            execute(&primary, "INSERT INTO t VALUES (101, 'w'); UPDATE t SET v = 'u' WHERE id < 10; DELETE FROM t WHERE id = 50; INSERT INTO keyless VALUES (2)").await;
            servers.replayed().await;
        };
        let outcome = tokio::select! {
            outcome = stream.run_with(work) => outcome,
            () = slot_can_begin => unreachable!(),
        };
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        for table in ["t", "keyless"] {
            let all = format!("SELECT * FROM {table} ORDER BY 1");
            assert_eq!(rows(&stream.target, &all).await, rows(&primary, &all).await);
        }
        let slots = "SELECT FROM pg_replication_slots WHERE slot_type = 'logical'";
        assert_eq!(rows(&stream.source, slots).await.len(), 0);
    }
}

const TICKS: &str = "CREATE TABLE ticks (id serial PRIMARY KEY)";

#[tokio::test]
async fn a_promoted_standby_that_has_the_slot_is_gone_on_with() {
    for major in majors_from(17) {
        let mut servers = Servers::start(major).await;
        let to = TestDatabase::create(testing::server(major)).await.unwrap();
        let mut stream = {
            let from = TestDatabase::create(&servers.primary).await.unwrap();
            from.execute(&format!("{TABLE} {TICKS}")).await.unwrap();
            let stream = Stream::new(&from, &to);
            // It goes with the server.
            std::mem::forget(from);
            stream
        };
        // A slot that was made before somebody thought of it is taken care of too.
        stream.copy_and_stop().await;
        stream.failover = true;
        servers.synchronised(&stream).await;
        execute(&stream.source, "UPDATE t SET v = 'before' WHERE id < 10").await;
        servers.replayed().await;
        servers.fail_over(&mut stream).await;
        execute(&stream.source, "UPDATE t SET v = 'after' WHERE id > 90").await;
        let (outcome, log) = logged(stream.complete()).await;
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        let said = "the server was promoted: its log left timeline 1 at 0/";
        assert!(log.contains(said), "{log}");
        let all = "SELECT * FROM t ORDER BY id";
        assert_eq!(rows(&stream.target, all).await, rows(&stream.source, all).await);
    }
}

#[tokio::test]
async fn a_promoted_standby_that_lacks_what_was_read_is_named() {
    for major in majors_from(17) {
        let mut servers = Servers::start(major).await;
        let to = TestDatabase::create(testing::server(major)).await.unwrap();
        let mut stream = {
            let from = TestDatabase::create(&servers.primary).await.unwrap();
            from.execute(&format!("{TABLE} {TICKS}")).await.unwrap();
            let stream = Stream::new(&from, &to);
            std::mem::forget(from);
            stream
        };
        stream.failover = true;
        servers.synchronised(&stream).await;
        servers.standby.stop(Shutdown::Fast).unwrap();
        let work = async {
            execute(&stream.source, "UPDATE t SET v = 'never at the standby'").await;
            let arrived = "SELECT count(*) = 100 FROM t WHERE v LIKE 'never%'";
            until(&stream.target, arrived, PATIENCE).await;
        };
        let followed = stream.run_once(Phase::Streaming, work, Control::Stop).await;
        assert_eq!(followed.unwrap(), Outcome::Stopped);
        // It would catch up as long as its primary is there.
        servers.primary.stop(Shutdown::Immediate).unwrap();
        servers.standby.restart(Shutdown::Fast).unwrap();
        servers.fail_over(&mut stream).await;
        // Its log is soon longer than that of its primary was.
        execute(&stream.source, "SELECT pg_switch_wal()").await;
        execute(&stream.source, "INSERT INTO ticks DEFAULT VALUES").await;
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let text = error.to_string();
        assert!(text.contains("its log left timeline 1 at "), "{text}");
        assert!(text.contains("take a new snapshot"), "{text}");
    }
}
