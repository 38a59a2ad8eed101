//! A stream that is stopped or fails, and goes on.

use std::time::Duration;

use stream_core::pipeline::{Control, Outcome};
use stream_core::postgres::SqlClient;
use stream_core::stats::Phase;
use stream_core::throwaway::testing::{self, TestDatabase};

use crate::fixture::{Stream, databases, databases_of, execute, rows, until};

const FOREIGN_KEYS: &str = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace";

#[tokio::test]
async fn a_snapshot_that_fails_copies_only_what_is_not_complete() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = databases_of(server, "CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT i, repeat('x', 100) FROM generate_series(1, 150000) i;
             CREATE TABLE small (id int PRIMARY KEY, large_id int REFERENCES large); INSERT INTO small SELECT i, i FROM generate_series(1, 100) i;").await;
        // The last row is refused, when the small table is long complete.
        to.execute("CREATE TABLE large (id int PRIMARY KEY, v text, CONSTRAINT refuses CHECK (id < 150000))").await.unwrap();
        let mut stream = Stream::new(&from, &to);
        // One reader is at the large table all the time.
        stream.chunk_bytes = u64::MAX;
        let error = stream.run_once(Phase::Streaming, async {}, Control::Stop).await.unwrap_err();
        assert!(error.to_string().contains("public.large"), "{error}");
        let complete = rows(
            &stream.target,
            "SELECT table_name FROM sgstream.table_sync WHERE synced_at IS NOT NULL",
        )
        .await;
        assert_eq!(complete, ["(small)"]);
        assert_eq!(rows(&stream.target, FOREIGN_KEYS).await.len(), 0);

        // What the next snapshot of the large table holds no more, and the old one of the small table does.
        execute(&stream.source, "DELETE FROM small WHERE id = 5; DELETE FROM large WHERE id = 5; INSERT INTO large VALUES (200000, 'new'); INSERT INTO small VALUES (101, 200000)").await;
        execute(&stream.target, "ALTER TABLE large DROP CONSTRAINT refuses; DELETE FROM small WHERE id = 50; INSERT INTO large VALUES (-1, 'of the first attempt')").await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        let sql = "SELECT count(*), sum(id), sum(length(v)) FROM large";
        assert_eq!(rows(&stream.source, sql).await, rows(&stream.target, sql).await);
        let source = rows(&stream.source, "SELECT * FROM small WHERE id <> 50").await;
        assert_eq!(source, rows(&stream.target, "SELECT * FROM small").await);
        assert_eq!(rows(&stream.target, FOREIGN_KEYS).await.len(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_is_stopped_at_any_moment_goes_on() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = databases_of(server, "CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT i, repeat('x', 100) FROM generate_series(1, 50000) i;
             CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a); INSERT INTO b SELECT i, i FROM generate_series(1, 1000) i; CREATE TABLE c (n int); INSERT INTO c SELECT 1 FROM generate_series(1, 1000);").await;
        let stream = Stream::new(&from, &to);
        let mut id = 1_000_000;
        for phase in [
            Phase::Starting,
            Phase::Snapshot,
            Phase::Snapshot,
            Phase::Finishing,
            Phase::Streaming,
            Phase::Streaming,
        ] {
            let outcome = stream.run_once(phase, async {}, Control::Stop).await.unwrap();
            assert_eq!(outcome, Outcome::Stopped);
            id += 1;
            execute(
                &stream.source,
                &format!("INSERT INTO a VALUES ({id}, 'new'); INSERT INTO b VALUES ({id}, {id}); DELETE FROM b WHERE id = {0}; DELETE FROM a WHERE id = {0}; INSERT INTO c VALUES ({id}); DELETE FROM c WHERE ctid = (SELECT min(ctid) FROM c)", id - 1_000_000),
            )
            .await;
        }
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        for table in ["a", "b", "c"] {
            let sql = format!("SELECT * FROM {table}");
            assert!(
                rows(&stream.source, &sql).await == rows(&stream.target, &sql).await,
                "{table}"
            );
        }
        assert_eq!(rows(&stream.target, FOREIGN_KEYS).await.len(), 1);
    }
}

#[tokio::test]
async fn a_slot_that_stands_before_the_saved_position_doubles_nothing() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) =
            databases_of(server, "CREATE TABLE bag (n int); INSERT INTO bag VALUES (1)").await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        let copy = |from: &str, to: &str| {
            format!("SELECT pg_copy_logical_replication_slot('{from}', '{to}')")
        };
        let (slot, older) = (stream.name.clone(), format!("{}_older", stream.name));
        execute(&stream.source, &copy(&slot, &older)).await;
        let work = async {
            execute(&stream.source, "INSERT INTO bag VALUES (2), (2)").await;
            let came = "SELECT count(*) = 3 FROM bag";
            until(&stream.target, came, Duration::from_secs(20)).await;
        };
        stream.run_once(Phase::Streaming, work, Control::Stop).await.unwrap();
        // As after a crash between the target's commit and the confirmation.
        execute(
            &stream.source,
            &format!(
                "SELECT pg_drop_replication_slot('{slot}');\n--\n{};\n--\nSELECT pg_drop_replication_slot('{older}')",
                copy(&older, &slot)
            ),
        )
        .await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT * FROM bag").await, ["(1)", "(2)", "(2)"]);
    }
}

#[tokio::test]
async fn nothing_is_confirmed_that_is_not_saved_at_the_target() {
    let (from, to) = databases(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE idle (id int PRIMARY KEY)",
    )
    .await;
    let stream = Stream::new(&from, &to);
    let work = async {
        let (source, target) = (
            SqlClient::connect(&stream.source).await.unwrap(),
            SqlClient::connect(&stream.target).await.unwrap(),
        );
        let confirmed = format!(
            "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{}'",
            stream.name
        );
        let mut moved = std::collections::BTreeSet::new();
        for round in 0..150 {
            let sql = match round % 3 {
                0 => format!(
                    "INSERT INTO public.t SELECT i, 'v' FROM generate_series({round} * 1000, {round} * 1000 + 900) i"
                ),
                1 => "SELECT pg_logical_emit_message(false, 'p', repeat('x', 100000))".to_owned(),
                _ => "CREATE TABLE public.x (); DROP TABLE public.x".to_owned(),
            };
            source.batch_execute(&sql).await.unwrap();
            // In this order: what is saved may only have grown since.
            let confirmed: String = source.query_one(&confirmed, &[]).await.unwrap().get(0);
            let passed = target
                .query_one(
                    "SELECT $1::text::pg_lsn <= position FROM sgstream.progress",
                    &[&confirmed],
                )
                .await
                .unwrap();
            assert!(passed.get::<_, bool>(0), "{confirmed} is confirmed and not saved");
            moved.insert(confirmed);
        }
        assert!(moved.len() > 3, "{moved:?}");
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
    assert_eq!(
        rows(&stream.source, "SELECT * FROM t").await,
        rows(&stream.target, "SELECT * FROM t").await
    );
}

#[tokio::test]
async fn a_target_that_blocks_longer_than_the_servers_timeout_costs_no_connection() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = (
            TestDatabase::create(server).await.unwrap(),
            TestDatabase::create(server).await.unwrap(),
        );
        from.execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER DATABASE {} SET wal_sender_timeout = '1s'",
            from.name()
        ))
        .await
        .unwrap();
        let stream = Stream::new(&from, &to);
        let walsender = "SELECT pid FROM pg_stat_replication JOIN pg_stat_activity USING (pid) WHERE datname = current_database()";
        let work = async {
            let before = rows(&stream.source, walsender).await;
            let blocker = SqlClient::connect(&stream.target).await.unwrap();
            blocker.batch_execute("BEGIN; LOCK TABLE public.t").await.unwrap();
            // More than all buffers on the way hold: the log is not read any more.
            execute(
                &stream.source,
                "INSERT INTO t SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, 60000) i",
            )
            .await;
            let held = "SELECT now() - xact_start > '5 s' FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%' AND datname = current_database()";
            until(&stream.target, held, Duration::from_secs(60)).await;
            assert_eq!(rows(&stream.source, walsender).await, before, "PostgreSQL {major}");
            blocker.batch_execute("COMMIT").await.unwrap();
            blocker.close().await;
        };
        assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT count(*) FROM t").await, ["(60000)"]);
    }
}

#[tokio::test]
async fn changes_whose_position_cannot_be_saved_are_not_there_either() {
    let (from, to) =
        databases("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    execute(
        &stream.target,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF EXISTS (SELECT FROM public.t WHERE id = 2) THEN RAISE 'no position'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE OF position ON sgstream.progress FOR EACH ROW EXECUTE FUNCTION refuse();
         ALTER TABLE sgstream.progress ENABLE ALWAYS TRIGGER refuse",
    )
    .await;
    execute(&stream.source, "INSERT INTO t VALUES (2)").await;
    let error = stream.complete().await.unwrap_err();
    assert!(error.to_string().contains("no position"), "{error}");
    assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1)"]);
    execute(&stream.target, "DROP FUNCTION refuse CASCADE").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1)", "(2)"]);
}
