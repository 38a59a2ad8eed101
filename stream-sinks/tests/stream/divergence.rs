//! Somebody else writes to the target, and a second worker comes.

use stream_core::ErrorKind;
use stream_core::pipeline::{Control, Outcome};
use stream_core::postgres::SqlClient;
use stream_core::stats::Phase;
use stream_core::throwaway::testing::{self, TestDatabase};

use crate::fixture::{
    Check, Stream, databases, databases_of, execute, logged, rows, run, session, until,
};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn rows_that_differ_get_the_source_s_values() {
    run(&Check {
        target_changes: "INSERT INTO t VALUES (100, 'foreign', 1), (130, 'foreign', 1); DELETE FROM t WHERE id IN (1, 2, 3, 7); UPDATE t SET v = 'foreign' WHERE id = 4; INSERT INTO beside (k, v) OVERRIDING SYSTEM VALUE VALUES ('new', 'foreign'); DELETE FROM f WHERE id IN (1, 2);",
        facts: false,
        compared: &["public.t", "public.f", "public.k"],
        ..Check::new(
            "CREATE TABLE t (id int PRIMARY KEY, v text, n int); INSERT INTO t SELECT i, 'v', i FROM generate_series(1, 20) i; CREATE TABLE f (id int PRIMARY KEY, v text); ALTER TABLE f REPLICA IDENTITY FULL; INSERT INTO f SELECT i, 'v' FROM generate_series(1, 9) i;
             CREATE TABLE beside (k text PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text); CREATE TABLE k (id int PRIMARY KEY); INSERT INTO k VALUES (1);",
            "INSERT INTO t VALUES (100, 'ours', 2);
--
             UPDATE t SET v = 'u' WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE t SET id = 300 WHERE id = 3; UPDATE t SET n = 9, v = 'ours' WHERE id = 4; DELETE FROM t WHERE id = 7;
             INSERT INTO t SELECT i, 'many', i FROM generate_series(110, 150) i; INSERT INTO beside (k, v) VALUES ('new', 'ours'); UPDATE f SET v = 'u' WHERE id = 1; DELETE FROM f WHERE id = 2; INSERT INTO k VALUES (2);",
        )
    })
    .await;
}

/// Whether the changes go through together or one by one.
#[tokio::test]
async fn each_row_that_differs_is_said_with_its_key_and_counted() {
    let (deleted, updated, inserted) = (
        "a deleted row was not there",
        "an updated row was not there: inserted",
        "an inserted row was there already: overwritten",
    );
    for (at_the_target, at_the_source, expected) in [
        ("DELETE FROM t WHERE id IN (2, 4)", "UPDATE t SET v = 'u' WHERE id = 1", &[][..]),
        ("DELETE FROM t WHERE id = 2", "DELETE FROM t WHERE id < 4", &[("2", deleted)]),
        (
            "DELETE FROM t WHERE id IN (2, 4)",
            "UPDATE t SET id = -id WHERE id = 1; DELETE FROM t WHERE id = 2; DELETE FROM t WHERE id = 4",
            &[("2", deleted), ("4", deleted)],
        ),
        (
            "DELETE FROM t WHERE id IN (2, 4); INSERT INTO t VALUES (100, 'foreign')",
            "DELETE FROM t WHERE id = 2; UPDATE t SET v = 'u' WHERE id = 4; INSERT INTO t VALUES (100, 'ours')",
            &[("2", deleted), ("4", updated), ("100", inserted)],
        ),
    ] {
        let (from, to) = databases("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 9) i").await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        execute(&stream.target, at_the_target).await;
        execute(&stream.source, at_the_source).await;
        let (outcome, log) = logged(stream.complete()).await;
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        let said: Vec<_> = log
            .lines()
            .filter(|line| line.contains("the target differs from the source"))
            .collect();
        assert_eq!(said.len(), expected.len(), "{at_the_source}:\n{log}");
        for ((id, what), (line, count)) in expected.iter().zip(said.into_iter().zip(1..)) {
            let parts = [
                "table=public.t",
                &format!("key=\"id={id}\""),
                &format!("what=\"{what}\""),
                &format!("count={count}"),
            ];
            assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} in {line}");
        }
    }
}

#[tokio::test]
async fn an_update_of_a_missing_row_that_is_not_complete_stops() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = (
            TestDatabase::create(server).await.unwrap(),
            TestDatabase::create(server).await.unwrap(),
        );
        let long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) i)";
        from.execute(&format!("CREATE TABLE t (id int PRIMARY KEY, n int, v text); INSERT INTO t SELECT i, i, {long} FROM generate_series(1, 3) i")).await.unwrap();
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        execute(&stream.target, "DELETE FROM t WHERE id = 2").await;
        execute(&stream.source, "UPDATE t SET n = 10 WHERE id = 1;\n--\nUPDATE t SET n = 20 WHERE id = 2; UPDATE t SET n = 30 WHERE id = 3").await;
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent);
        let text = error.to_string();
        assert!(
            text.contains("public.t") && text.contains("id=2") && text.contains("0/"),
            "{text}"
        );
        assert_eq!(rows(&stream.target, "SELECT id FROM t WHERE n = 30").await.len(), 0);
        execute(&stream.target, &format!("INSERT INTO t VALUES (2, 0, {long})")).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        let all = "SELECT id, n, md5(v) FROM t";
        assert_eq!(rows(&stream.source, all).await, rows(&stream.target, all).await);
    }
}

#[tokio::test]
async fn a_collision_on_a_second_key_stops_and_goes_on_when_it_is_mended() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = databases_of(server, "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE); INSERT INTO t VALUES (1, 'a'); CREATE TABLE after (id int PRIMARY KEY)").await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        execute(&stream.target, "INSERT INTO t VALUES (99, 'b')").await;
        execute(
            &stream.source,
            "INSERT INTO t VALUES (2, 'x');\n--\nINSERT INTO after VALUES (1); INSERT INTO t VALUES (3, 'b');\n--\nINSERT INTO after VALUES (2); INSERT INTO t VALUES (4, 'd');",
        )
        .await;
        for _ in 0..2 {
            let error = stream.complete().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Permanent);
            let text = error.to_string();
            assert!(
                text.contains("public.t") && text.contains("id=3") && text.contains("0/"),
                "{text}"
            );
            assert_eq!(rows(&stream.target, "SELECT id FROM after").await.len(), 0);
            assert_eq!(rows(&stream.target, "SELECT id FROM t WHERE id IN (3, 4)").await.len(), 0);
        }
        execute(&stream.target, "DELETE FROM t WHERE id = 99").await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        for all in ["SELECT * FROM t", "SELECT * FROM after"] {
            assert_eq!(rows(&stream.source, all).await, rows(&stream.target, all).await);
        }
    }
}

#[tokio::test]
async fn a_collision_on_a_primary_key_that_is_not_the_source_s_stops_and_overwrites_nothing() {
    for identity in ["DEFAULT", "FULL"] {
        let server = testing::server(testing::oldest_major());
        let (from, to) = (
            TestDatabase::create(server).await.unwrap(),
            TestDatabase::create(server).await.unwrap(),
        );
        let schema = format!(
            "CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL); INSERT INTO t VALUES (1, 'x'); ALTER TABLE t REPLICA IDENTITY {identity}"
        );
        from.execute(&schema).await.unwrap();
        to.execute("CREATE TABLE t (id int NOT NULL, v text PRIMARY KEY)").await.unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.import = false;
        stream.copy_and_stop().await;
        execute(
            &stream.source,
            "INSERT INTO t VALUES (2, 'y');\n--\nINSERT INTO t VALUES (3, 'x')",
        )
        .await;
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent);
        let text = error.to_string();
        assert!(text.contains("public.t") && text.contains("t_pkey"), "{text}");
        assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1,x)", "(2,y)"], "{identity}");
        execute(&stream.target, "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id)").await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1,x)", "(2,y)", "(3,x)"]);
    }
}

#[tokio::test]
async fn a_worker_that_waits_for_one_that_hangs_says_so() {
    let (from, to) = databases("CREATE TABLE t (id int PRIMARY KEY)").await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    let mut hanging = SqlClient::connect(&stream.target).await.unwrap();
    let transaction = hanging.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM sgstream.progress FOR UPDATE").await.unwrap();
    let error = stream.pipeline().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    let error = error.to_string();
    let remedy = error.split('`').find(|quoted| quoted.starts_with("SELECT")).unwrap();
    execute(&stream.target, remedy).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
}

#[tokio::test]
async fn a_truncate_empties_no_table_that_the_source_did_not_empty() {
    let (from, to) = databases("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE u (id int REFERENCES t); INSERT INTO u VALUES (1)").await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    let own = "CREATE TABLE own (id int REFERENCES t); INSERT INTO own VALUES (1)";
    execute(&stream.target, own).await;
    execute(&stream.source, "TRUNCATE t CASCADE").await;
    let error = stream.complete().await.unwrap_err();
    assert!(error.to_string().contains("refuses a TRUNCATE"), "{error}");
    assert_eq!(rows(&stream.target, "SELECT * FROM own").await, ["(1)"]);
    execute(&stream.target, "DROP TABLE own").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT * FROM t UNION ALL SELECT * FROM u").await.len(), 0);
}

#[tokio::test]
async fn a_second_worker_fences_the_first() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = databases_of(server, "CREATE TABLE t (id int PRIMARY KEY)").await;
        let stream = Stream::new(&from, &to);
        let work = async {
            execute(&stream.source, "INSERT INTO t VALUES (1)").await;
            until(&stream.target, "SELECT count(*) = 1 FROM t", PATIENCE).await;
            // The second worker comes.
            let second = stream.pipeline().await.unwrap();
            execute(&stream.source, "INSERT INTO t VALUES (2)").await;
            // The first ends by itself, and this never comes true.
            until(&stream.target, "SELECT count(*) = 2 FROM t", PATIENCE).await;
            drop(second);
        };
        let run = Box::pin(stream.run_once(Phase::Streaming, work, Control::Stop));
        let error = run.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1)"]);
        // The first worker may have ended before the source had the second row.
        execute(&stream.source, "INSERT INTO t VALUES (2) ON CONFLICT DO NOTHING").await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1)", "(2)"]);
    }
}

/// It has the stream as soon as one of several transactions is committed, and what follows is not the first one's to write: neither after a row that
/// was missing, nor after a common commit that was refused.
#[tokio::test]
async fn a_second_worker_fences_the_first_between_transactions_that_are_applied_one_by_one() {
    let tables = "CREATE TABLE k (id int PRIMARY KEY, v text); INSERT INTO k VALUES (1), (2); CREATE TABLE n (v text); CREATE TABLE first (id int)";
    let waiting = |count: u8| {
        format!(
            "SELECT count(*) = {count} FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    };
    let missing = "DELETE FROM k WHERE id = 1";
    let refused = "CREATE SEQUENCE commits; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
            IF nextval(''public.commits'') = 1 THEN RAISE EXCEPTION ''refused''; END IF; RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON n DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE n ENABLE ALWAYS TRIGGER refuse";
    for (cause, attempt) in [(missing, 2), (refused, 1)] {
        let hold = format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END';
            CREATE TRIGGER slow AFTER INSERT ON first FOR EACH ROW EXECUTE FUNCTION slow(); ALTER TABLE first ENABLE ALWAYS TRIGGER slow;
            CREATE SEQUENCE attempts; CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN IF nextval(''public.attempts'') = {attempt} THEN PERFORM pg_advisory_xact_lock(7); END IF; RETURN NEW; END';
            CREATE TRIGGER hold AFTER UPDATE ON k FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION hold();
            ALTER TABLE k ENABLE ALWAYS TRIGGER hold;"
        );
        let (from, to) = databases(tables).await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        execute(&stream.target, &format!("{hold} {cause}")).await;
        execute(
            &stream.source,
            // What comes while the first is applied is one batch.
            "INSERT INTO first VALUES (1)\n--\nUPDATE k SET v = 'x'\n--\nINSERT INTO n VALUES ('once')\n--\nDELETE FROM n\n--\nINSERT INTO n VALUES ('once')",
        )
        .await;
        let holder = session(&stream.target).await;
        holder.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7)").await.unwrap();
        let work = async {
            until(&stream.target, &waiting(1), PATIENCE).await;
            let release = async {
                until(&stream.target, &waiting(2), PATIENCE).await;
                holder.batch_execute("COMMIT").await.unwrap();
            };
            let (second, ()) = tokio::join!(stream.pipeline(), release);
            // Whatever the first does until it ends.
            tokio::time::sleep(PATIENCE).await;
            drop(second);
        };
        let run = Box::pin(stream.run_once(Phase::Streaming, work, Control::Stop));
        let error = run.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert_eq!(rows(&stream.target, "SELECT * FROM n").await, [""; 0], "{cause}");
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT * FROM n").await, ["(once)"], "{cause}");
    }
}

/// It does what its maker wants, and says so.
#[tokio::test]
async fn rows_that_a_trigger_or_rule_of_the_target_leaves_out_are_counted() {
    let rule = "CREATE RULE r AS ON INSERT TO t WHERE NEW.id % 2 = 0 DO INSTEAD NOTHING; ALTER TABLE t ENABLE ALWAYS RULE r";
    let trigger = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END';
        CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER g";
    for (leaves_out, copied, schema) in [
        // COPY knows no rules.
        (rule, 0, "CREATE TABLE t (id int PRIMARY KEY)"),
        (trigger, 50, "CREATE TABLE t (id int PRIMARY KEY)"),
        (trigger, 50, "CREATE TABLE t (id int)"),
    ] {
        let fill = format!("{schema}; INSERT INTO t SELECT generate_series(1, 100)");
        let (from, to) = databases(&fill).await;
        to.execute(&format!("{schema}; {leaves_out}")).await.unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.import = false;
        let insert = "INSERT INTO t SELECT generate_series(101, 110);\n--\nINSERT INTO t VALUES (111);\n--\nINSERT INTO t VALUES (112)";
        let work = execute(&stream.source, insert);
        let (outcome, log) = Box::pin(logged(stream.run_with(work))).await;
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        let here = rows(&stream.target, "SELECT count(*)::int FROM t").await.concat();
        let here: u64 = here.trim_matches(['(', ')']).parse().unwrap();
        let said = log.lines().filter(|line| line.contains("left inserted rows out"));
        let mut count = said.filter_map(|line| line.split("count=").nth(1)?.split(' ').next());
        let count: Option<u64> = count.next_back().and_then(|count| count.parse().ok());
        assert_eq!(count.unwrap_or_default(), 112 - here, "{log}");
        assert!(here <= 112 - copied && here < 112, "{here}");
    }
}
