//! What only time brings: a source that is idle while others write, and one that has used up its transaction ids.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use stream_core::clock;
use stream_core::pipeline::Outcome;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::throwaway::{Server, Shutdown};

use crate::fixture::{Stream, assert_same_rows, databases_of, execute, rows, until};

/// Asks whether all that is in the source's log by now was confirmed.
async fn passed(stream: &Stream) -> String {
    let written = rows(&stream.source, "SELECT pg_current_wal_lsn()").await.concat();
    format!(
        "SELECT confirmed_flush_lsn >= '{}' FROM pg_replication_slots WHERE database = current_database()",
        written.trim_matches(['(', ')'])
    )
}

#[tokio::test]
async fn an_idle_stream_pins_no_log_while_others_write() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = (
            TestDatabase::create(server).await.unwrap(),
            TestDatabase::create(server).await.unwrap(),
        );
        let other = TestDatabase::create(server).await.unwrap();
        from.execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
        other.execute("CREATE TABLE busy (v text)").await.unwrap();
        let stream = Stream::new(&from, &to);
        let work = async {
            for _ in 0..3 {
                other
                    .execute(
                        "INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 5000)",
                    )
                    .await
                    .unwrap();
                let passed = passed(&stream).await;
                until(&stream.source, &passed, Duration::from_secs(60)).await;
                let saved = passed.replace("confirmed_flush_lsn", "position").replace(
                    "pg_replication_slots WHERE database = current_database()",
                    "sgstream.progress",
                );
                assert_eq!(rows(&stream.target, &saved).await, ["(t)"], "confirmed, and not saved");
            }
        };
        assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed, "PostgreSQL {major}");
    }
}

/// By hand, by the network, or because the machine slept: what waits and measures does not ask the clock.
#[tokio::test]
async fn a_clock_that_jumps() {
    const DAY: i64 = 24 * 60 * 60;
    for major in testing::majors() {
        let schema = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (0)";
        let (from, to) = databases_of(testing::server(major), schema).await;
        let stream = Stream::new(&from, &to);
        let work = async {
            for (jumped, id) in [DAY, -DAY, 0, 40_000 * DAY, -2 * DAY].into_iter().zip(1..) {
                clock::jump(jumped);
                let insert = format!("INSERT INTO t VALUES ({id}, 'after {jumped}')");
                execute(&stream.source, &insert).await;
                let came = format!("SELECT count(*) = 1 FROM t WHERE id = {id}");
                until(&stream.target, &came, Duration::from_secs(60)).await;
                until(&stream.source, &passed(&stream).await, Duration::from_secs(60)).await;
            }
        };
        let outcome = stream.run_with(work).await;
        clock::jump(0);
        assert_eq!(outcome.unwrap(), Outcome::Completed, "PostgreSQL {major}");
        assert_same_rows(&stream, "SELECT id, v FROM t").await;
    }
}

/// Sets the server's next transaction id, for which everything older is frozen.
async fn set_next_xid(server: &mut Server, next: u32) {
    const SEGMENT_XIDS: u32 = 1 << 20;
    const SEGMENT_BYTES: usize = 256 << 10;
    for database in ["template0", "template1", "postgres"] {
        server.execute(database, "VACUUM FREEZE").await.unwrap();
    }
    server.stop(Shutdown::Fast).unwrap();
    let data = server.data_dir().join("data");
    let owner = fs::metadata(&data).unwrap();
    let program = testing::client("pg_resetwal", server.major()).path;
    let mut command = Command::new(program);
    command.arg("-D").arg(&data).args(["-x", &next.to_string()]).current_dir("/");
    command.uid(owner.uid()).gid(owner.gid()).stdout(Stdio::null());
    assert!(command.status().unwrap().success());
    // The state of the transactions around it: none of them was ever begun.
    let segment = data.join(format!("pg_xact/{:04X}", next / SEGMENT_XIDS));
    fs::write(&segment, vec![0; SEGMENT_BYTES]).unwrap();
    chown(&segment, Some(owner.uid()), Some(owner.gid())).unwrap();
    server.restart(Shutdown::Fast).unwrap();
}

#[tokio::test]
async fn transaction_ids_that_begin_again_change_nothing() {
    // The one whose client programs are always there.
    let major = *testing::majors().last().unwrap();
    let mut server = testing::private_server(major, &[("autovacuum", "off")]);
    server.execute("postgres", "ALTER DATABASE template0 ALLOW_CONNECTIONS true").await.unwrap();
    // In steps: an id is old or new by which half of the circle it is in.
    for next in [1_900_000_000, 3_800_000_000, u32::MAX - 300] {
        set_next_xid(&mut server, next).await;
    }
    let from = TestDatabase::create(&server).await.unwrap();
    let to = TestDatabase::create(testing::server(major)).await.unwrap();
    from.execute("CREATE TABLE t (id int PRIMARY KEY, n int, v text); INSERT INTO t SELECT i, 0, repeat('x', 100) FROM generate_series(1, 50) i")
            .await
            .unwrap();
    let stream = Stream::new(&from, &to);
    let wrapped = "SELECT pg_current_xact_id()::text::numeric > 4294967296";
    let work = async {
        assert_eq!(rows(&stream.source, wrapped).await, ["(f)"]);
        // Every transaction is of two ids, and changes what the one before has changed.
        let step = "UPDATE t SET n = n + 1 WHERE id = 1;
--
                BEGIN; SAVEPOINT a; INSERT INTO t SELECT max(id) + 1, 0, 'new' FROM t; RELEASE a; UPDATE t SET n = n + 1 WHERE id = 1; COMMIT;
--
                BEGIN; SAVEPOINT a; DELETE FROM t; ROLLBACK TO a; UPDATE t SET v = n::text WHERE id = 2; COMMIT;
--
";
        execute(&stream.source, &step.repeat(100)).await;
        assert_eq!(rows(&stream.source, wrapped).await, ["(t)"]);
        // Tables that come later are copied under a snapshot of the new ids.
        execute(
            &stream.source,
            "CREATE TABLE later AS SELECT * FROM t; ALTER TABLE later ADD PRIMARY KEY (id)",
        )
        .await;
        until(&stream.target, "SELECT count(*) = 150 FROM later", Duration::from_secs(60)).await;
        execute(&stream.source, "UPDATE later SET n = -n; DELETE FROM t WHERE id = 3").await;
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
    for table in ["t", "later"] {
        let all = format!("SELECT * FROM {table}");
        assert_eq!(rows(&stream.target, &all).await, rows(&stream.source, &all).await, "{major}");
    }
    assert_eq!(rows(&stream.target, "SELECT n FROM t WHERE id = 1").await, ["(200)"]);
}
