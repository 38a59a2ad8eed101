//! Transactions that are sent while they run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

use std::path::Path;
use std::time::Duration;

use stream_core::pipeline::Outcome;
use stream_core::postgres::{PluginOptions, SqlClient, Streaming};
use stream_core::throwaway::testing::{self, TestDatabase};

use crate::fixture::{Stream, execute, rows, until};

const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE c (id int, v text);
     ALTER TABLE c REPLICA IDENTITY FULL; INSERT INTO a SELECT i, 'first' FROM generate_series(1, 500) i; INSERT INTO c SELECT i % 10, 'c' FROM generate_series(1, 100) i;";
/// More than the server keeps.
const MANY: &str = "SELECT i, repeat(md5(i::text), 20) FROM generate_series";

/// Every protocol and way of sending that a server of this version has.
fn plugins(major: u16, spool: &Path) -> Vec<PluginOptions> {
    let in_progress = |parallel| Streaming::InProgress { directory: spool.to_owned(), parallel };
    let newest = match major {
        ..=14 => 2,
        15 => 3,
        _ => 4,
    };
    let mut plugins: Vec<_> = (1..=newest)
        .map(|version| PluginOptions {
            proto_version: Some(version),
            streaming: if version == 1 { Streaming::Committed } else { in_progress(false) },
        })
        .collect();
    if newest == 4 {
        plugins.push(PluginOptions { proto_version: None, streaming: in_progress(true) });
    }
    plugins
}

/// Three large transactions at the same time and small ones in between: one has savepoints that are rolled back, with a
/// table's change in one of them, one is rolled back as a whole, and one changes a table for good.
async fn change(stream: &Stream) {
    let source = &stream.source;
    let (one, two, three) = tokio::join!(
        SqlClient::connect(source),
        SqlClient::connect(source),
        SqlClient::connect(source)
    );
    let (one, two, three) = (one.unwrap(), two.unwrap(), three.unwrap());
    let run = async |client: &SqlClient, sql: &str| {
        if let Err(error) = client.batch_execute(sql).await {
            panic!("{:?} in {sql}", error.as_db_error());
        }
    };
    for client in [&one, &two, &three] {
        run(client, "SET search_path = public; BEGIN").await;
    }
    run(&one, &format!("INSERT INTO a {MANY}(1000, 3000) i")).await;
    run(&two, &format!("INSERT INTO b {MANY}(1, 2000) i")).await;
    run(&one, &format!("SAVEPOINT s; INSERT INTO a {MANY}(3001, 5000) i; SAVEPOINT t; INSERT INTO a {MANY}(5001, 6000) i; RELEASE t")).await;
    run(
        &three,
        &format!("INSERT INTO c {MANY}(1, 1500) i; UPDATE c SET v = 'changed' WHERE id < 10"),
    )
    .await;
    execute(source, "UPDATE a SET v = 'small' WHERE id = 1;\n--\nDELETE FROM a WHERE id = 2").await;
    run(&one, &format!("ALTER TABLE a ADD extra int DEFAULT 7; INSERT INTO a {MANY}(6001, 7000) i; ROLLBACK TO s")).await;
    run(&one, &format!("INSERT INTO a {MANY}(3001, 3500) i; UPDATE a SET id = -id WHERE id < 100; SAVEPOINT u; DELETE FROM a; ROLLBACK TO u")).await;
    run(&two, &format!("INSERT INTO b {MANY}(2001, 4000) i; ROLLBACK")).await;
    run(
        &three,
        &format!("ALTER TABLE c ALTER id TYPE bigint; INSERT INTO c {MANY}(2000, 3500) i; COMMIT"),
    )
    .await;
    run(&one, &format!("INSERT INTO b {MANY}(1, 10) i; COMMIT")).await;
    execute(source, "INSERT INTO c VALUES (9999, 'after'); UPDATE b SET v = 'after' WHERE id = 1")
        .await;
    for client in [one, two, three] {
        client.close().await;
    }
}

#[tokio::test]
async fn what_is_rolled_back_never_comes_and_the_rest_comes_whole() {
    for major in testing::majors() {
        let server = testing::server(major);
        let spool = tempfile::tempdir().unwrap();
        for plugin in plugins(major, spool.path()) {
            let (from, to) = (
                TestDatabase::create(server).await.unwrap(),
                TestDatabase::create(server).await.unwrap(),
            );
            let mut stream = Stream::new(&from, &to);
            stream.plugin = plugin.clone();
            execute(&stream.source, TABLES).await;
            let sql = format!(
                "ALTER DATABASE \"{}\" SET logical_decoding_work_mem = '64kB'",
                from.name()
            );
            execute(&stream.source, &sql).await;
            execute(&stream.target, TABLES).await;
            execute(&stream.target, "TRUNCATE a, b, c; ALTER TABLE c ALTER id TYPE bigint").await;
            stream.import = false;
            let outcome = Box::pin(stream.run_with(change(&stream))).await;
            assert_eq!(outcome.unwrap(), Outcome::Completed, "{major} {plugin:?}");
            for table in ["a", "b", "c"] {
                let sql = format!("SELECT * FROM {table}");
                let (source, target) =
                    (rows(&stream.source, &sql).await, rows(&stream.target, &sql).await);
                assert_eq!(source.len(), target.len(), "{table} {major} {plugin:?}");
                assert!(source == target, "{table} differs: {major} {plugin:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_larger_than_the_memory_waits_on_the_disk_and_leaves_nothing_there() {
    let server = testing::server(*testing::majors().last().unwrap());
    let (from, to) =
        (TestDatabase::create(server).await.unwrap(), TestDatabase::create(server).await.unwrap());
    let spool = tempfile::tempdir().unwrap();
    let directory = spool.path().join("made when it is needed");
    let mut stream = Stream::new(&from, &to);
    stream.plugin.streaming =
        Streaming::InProgress { directory: directory.clone(), parallel: false };
    let sql = format!("ALTER DATABASE \"{}\" SET logical_decoding_work_mem = '64kB'", from.name());
    execute(&stream.source, &sql).await;
    execute(&stream.source, TABLES).await;
    let change = async {
        let client = SqlClient::connect(&stream.source).await.unwrap();
        client
            .batch_execute(&format!("BEGIN; INSERT INTO public.b {MANY}(1, 60000) i"))
            .await
            .unwrap();
        let arrived = format!(
            "SELECT sent_lsn >= pg_current_wal_lsn() FROM pg_stat_replication WHERE application_name <> '' AND pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{}')",
            stream.name
        );
        until(&stream.source, &arrived, Duration::from_secs(60)).await;
        assert!(directory.is_dir());
        client.batch_execute("COMMIT").await.unwrap();
        client.close().await;
    };
    assert_eq!(stream.run_with(change).await.unwrap(), Outcome::Completed);
    let sql = "SELECT count(*), sum(id), sum(hashtext(v)) FROM b";
    assert_eq!(rows(&stream.source, sql).await, rows(&stream.target, sql).await);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}
