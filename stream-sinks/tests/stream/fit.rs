//! Types that differ between source and target, or come to differ: values are kept as they are, or refused.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::time::Duration;

use stream_core::pipeline::{Control, Outcome};
use stream_core::stats::Phase;
use stream_core::throwaway::testing::TestDatabase;
use stream_core::{Error, ErrorKind};

use crate::fixture::{Stream, assert_same_rows, databases, execute, rows, session, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A stream into a database that has its tables.
async fn made(
    at_source: &str,
    at_target: &str,
) -> (TestDatabase<'static>, TestDatabase<'static>, Stream) {
    let (from, to) = databases(at_source).await;
    to.execute(at_target).await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.import = false;
    (from, to, stream)
}

/// Streams a first row, and runs `changes` at the ends they name while it does.
async fn streams(stream: &Stream, first: &str, changes: &[(&str, &str)]) -> Result<Outcome, Error> {
    let work = async {
        execute(&stream.source, first).await;
        until(&stream.target, "SELECT count(*) > 0 FROM t", PATIENCE).await;
        for (end, statement) in changes {
            let end = if *end == "source" { &stream.source } else { &stream.target };
            execute(end, statement).await;
        }
    };
    stream.run_with(work).await
}

/// The stream has said what to run at the target; runs it.
async fn run_remedy(stream: &Stream, refused: Result<Outcome, Error>) {
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let text = error.to_string();
    for statement in text.split('`').filter(|part| part.starts_with("ALTER TABLE")) {
        execute(&stream.target, statement).await;
    }
}

/// The target would round what comes, and would not find what was rounded again.
#[tokio::test]
async fn a_type_that_takes_more_at_the_source_alone_stops_the_stream() {
    for (columns, alter, insert) in [
        (
            "id int PRIMARY KEY, v numeric(12,2), ts timestamp(0)",
            "ALTER TABLE t ALTER COLUMN v TYPE numeric(12,4), ALTER COLUMN ts TYPE timestamp(6)",
            "INSERT INTO t SELECT i, 1.2345, '2024-01-01 00:00:00.9' FROM generate_series(2, 30) i",
        ),
        (
            "id int, v numeric(12,2), ts text",
            "ALTER TABLE t ALTER COLUMN v TYPE numeric(12,4)",
            "INSERT INTO t VALUES (2, 1.2345, 'a'), (3, 9.8765, 'gone');\n--\nUPDATE t SET ts = 'b' WHERE id = 2;\n--\nDELETE FROM t WHERE id = 3",
        ),
        (
            "id int PRIMARY KEY, v smallint[], ts varchar(3)",
            "ALTER TABLE t ALTER COLUMN v TYPE double precision[], ALTER COLUMN ts TYPE varchar(9)",
            "INSERT INTO t VALUES (2, '{1.5}', 'abc   ')",
        ),
    ] {
        let schema = format!("CREATE TABLE t ({columns}); ALTER TABLE t REPLICA IDENTITY FULL");
        let (_from, _to, stream) = made(&schema, &schema).await;
        let first = "INSERT INTO t (id) VALUES (1)";
        let refused = streams(&stream, first, &[("source", alter), ("source", insert)]).await;
        let kept = "SELECT count(*) FROM t WHERE id > 1";
        assert_eq!(rows(&stream.target, kept).await, ["(0)"], "{alter}");
        run_remedy(&stream, refused).await;
        // One column at a time is named where the stream finds the first in the log.
        match stream.complete().await {
            Ok(outcome) => assert_eq!(outcome, Outcome::Completed),
            refused => {
                run_remedy(&stream, refused).await;
                assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{alter}");
            }
        }
        assert_same_rows(&stream, "SELECT id, v, ts FROM t").await;
    }
}

/// Values sent in the form of the type that was there would be taken for others, or rounded.
#[tokio::test]
async fn a_type_that_takes_less_at_the_target_alone_stops_the_stream() {
    for (type_, alter, insert) in [
        ("bigint", "double precision", "SELECT i, i FROM generate_series(2, 40) i"),
        ("bigint", "double precision", "VALUES (2, 21)"),
        ("numeric", "numeric(12,1)", "VALUES (2, 1.2345)"),
        ("double precision", "int", "VALUES (2, 2.7)"),
        ("text", "varchar(3)", "VALUES (2, 'abc  ')"),
    ] {
        let schema = format!("CREATE TABLE t (id int PRIMARY KEY, v {type_})");
        let (_from, _to, stream) = made(&schema, &schema).await;
        let alter = format!("ALTER TABLE t ALTER COLUMN v TYPE {alter}");
        let insert = format!("INSERT INTO t {insert}");
        let changes = [("target", alter.as_str()), ("source", insert.as_str())];
        let refused = streams(&stream, "INSERT INTO t VALUES (1)", &changes).await;
        let kept = "SELECT count(*) FROM t WHERE id > 1";
        assert_eq!(rows(&stream.target, kept).await, ["(0)"], "{alter}");
        run_remedy(&stream, refused).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{alter}");
        assert_same_rows(&stream, "SELECT id, v FROM t").await;
    }
}

/// The source has rounded its own rows then, as the target does with what the log has.
#[tokio::test]
async fn a_type_that_takes_less_at_both_ends_since_the_log_was_written() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v numeric(12,4))";
    let (_from, _to, stream) = made(schema, schema).await;
    stream.copy_and_stop().await;
    let alter = "ALTER TABLE t ALTER COLUMN v TYPE numeric(12,2)";
    let changes = format!(
        "INSERT INTO t VALUES (1, 1.2345);\n--\n{alter};\n--\nINSERT INTO t VALUES (2, 2.345)"
    );
    execute(&stream.source, &changes).await;
    execute(&stream.target, alter).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v FROM t").await;
}

#[tokio::test]
async fn a_domain_that_is_another_type_at_the_target_is_refused() {
    for (at_source, at_target, value) in [
        ("bigint", "double precision", "1"),
        ("numeric(12,4)", "numeric(10,2)", "1.2345"),
        ("timestamptz", "timestamptz(0)", "'2024-01-01 00:00:00.9Z'"),
        ("text[]", "varchar(2)[]", "'{abc}'"),
    ] {
        let schema = |base| {
            format!(
                "CREATE DOMAIN below AS {base}; CREATE DOMAIN d AS below; CREATE TABLE t (id int PRIMARY KEY, v d);"
            )
        };
        let (from, to) =
            databases(&format!("{} INSERT INTO t VALUES (1, {value})", schema(at_source))).await;
        to.execute(&schema(at_target)).await.unwrap();
        for import in [false, true] {
            let mut stream = Stream::new(&from, &to);
            stream.import = import;
            let error = stream.complete().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
            let text = error.to_string();
            assert!(text.contains("column `v`") && text.contains("format_type"), "{text}");
            assert_eq!(rows(&stream.target, "SELECT count(*) FROM t").await, ["(0)"]);
        }
    }
}

/// Its values go as text; and only text tells one domain's from another's.
#[tokio::test]
async fn a_domain_that_keeps_the_values_takes_them() {
    let schema =
        |base| format!("CREATE DOMAIN d AS {base}; CREATE TABLE t (id int PRIMARY KEY, v d);");
    let (_from, _to, stream) = made(
        &format!("{} INSERT INTO t VALUES (1, 4294967299)", schema("bigint")),
        &schema("numeric"),
    )
    .await;
    let insert = "INSERT INTO t SELECT i, i FROM generate_series(2, 40) i";
    assert_eq!(stream.run_with(execute(&stream.source, insert)).await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v FROM t").await;
}

#[tokio::test]
async fn another_domain_in_mid_stream_is_not_taken_for_the_one_before() {
    let schema = "CREATE DOMAIN d1 AS bigint; CREATE DOMAIN d2 AS double precision; CREATE TABLE t (id int PRIMARY KEY, v d1)";
    let (_from, _to, stream) = made(schema, schema).await;
    let changes = [
        ("source", "ALTER TABLE t ALTER COLUMN v TYPE d2"),
        ("source", "INSERT INTO t SELECT i, i + 0.5 FROM generate_series(2, 40) i"),
    ];
    let refused = streams(&stream, "INSERT INTO t VALUES (1, 1)", &changes).await;
    run_remedy(&stream, refused).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v FROM t").await;
}

/// Its parts have no names in its values.
#[tokio::test]
async fn a_composite_type_or_range_that_is_made_of_something_else_is_refused() {
    for (at_source, at_target, value) in [
        ("AS (a int, b int)", "AS (b int, a int)", "'(1,2)'"),
        ("AS (a numeric(10,4))", "AS (a numeric(10,2))", "'(1.2345)'"),
        ("AS (a int, b text[])", "AS (a int, b varchar(2)[])", "'(1,\"{abc}\")'"),
        ("AS RANGE (subtype = numeric)", "AS RANGE (subtype = float8)", "'[1,2]'"),
    ] {
        let schema = |made| {
            format!(
                "CREATE TYPE c {made}; CREATE DOMAIN d AS c; CREATE TABLE t (id int PRIMARY KEY, v d, w c[]);"
            )
        };
        let fill = format!("{} INSERT INTO t (id, v) VALUES (1, {value})", schema(at_source));
        let (_from, _to, stream) = made(&fill, &schema(at_target)).await;
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        let text = error.to_string();
        assert!(text.contains("column `v`") && text.contains("column `w`"), "{text}");
        assert_eq!(rows(&stream.target, "SELECT count(*) FROM t").await, ["(0)"]);
        let schema = schema(at_source);
        let (_from, _to, stream) = made(&fill, &schema).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_same_rows(&stream, "SELECT id, v FROM t").await;
    }
}

/// Nobody knows what a type is over that came after the look; as text its values would be rounded.
#[tokio::test]
async fn a_type_that_was_made_in_mid_stream_is_looked_at() {
    // The server does not read its own binary form of `tsquery`, so that all values go as text.
    for more in ["", ", q tsquery"] {
        let schema = format!("CREATE TABLE t (id int PRIMARY KEY, v numeric(12,2){more})");
        let (_from, _to, stream) = made(&schema, &schema).await;
        let alter = "CREATE DOMAIN later AS numeric(12,4); ALTER TABLE t ALTER COLUMN v TYPE later";
        let changes = [("source", alter), ("source", "INSERT INTO t VALUES (2, 1.2345)")];
        let refused = streams(&stream, "INSERT INTO t VALUES (1, 1)", &changes).await;
        execute(&stream.target, "CREATE DOMAIN later AS numeric(12,4)").await;
        run_remedy(&stream, refused).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_same_rows(&stream, "SELECT id, v FROM t").await;
    }
}

/// What the source has made of the older values is not in the log: its session's time zone, say.
#[tokio::test]
async fn older_values_that_the_source_has_converted_in_its_own_way_are_copied_again() {
    for (before, after, value) in [
        ("timestamp", "timestamptz", "'2024-01-01 10:00'"),
        ("bigint", "double precision", "9007199254740993"),
    ] {
        let schema = format!("CREATE TABLE t (id int PRIMARY KEY, v {before})");
        let (_from, _to, stream) = made(&schema, &schema).await;
        stream.copy_and_stop().await;
        let alter = format!(
            "SET TimeZone = 'America/New_York';\n--\nALTER TABLE t ALTER COLUMN v TYPE {after}"
        );
        let insert = format!("INSERT INTO t VALUES (1, {value})");
        execute(&stream.source, &format!("{insert};\n--\n{alter}")).await;
        execute(&stream.target, &alter).await;
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        let text = error.to_string();
        let again = text.split('`').find(|part| part.starts_with("UPDATE sgstream")).unwrap();
        execute(&stream.target, again).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_same_rows(&stream, "SELECT id, v FROM t").await;
    }
}

/// Its identifier, and what its modifiers mean, are each server's own.
#[tokio::test]
async fn a_type_of_ones_own_with_modifiers_that_was_altered_at_both_ends() {
    let own = "CREATE TYPE num; CREATE FUNCTION num_in(cstring, oid, int) RETURNS num LANGUAGE internal STRICT AS 'numeric_in'; CREATE FUNCTION num_out(num) RETURNS cstring LANGUAGE internal STRICT AS 'numeric_out';
        CREATE FUNCTION num_limit(num, int) RETURNS num LANGUAGE internal STRICT AS 'numeric';
        CREATE TYPE num (INPUT = num_in, OUTPUT = num_out, TYPMOD_IN = numerictypmodin, TYPMOD_OUT = numerictypmodout, STORAGE = main); CREATE CAST (num AS num) WITH FUNCTION num_limit(num, int) AS IMPLICIT;";
    let schema = format!("{own} CREATE TABLE t (id int PRIMARY KEY, v num(12,2))");
    let (_from, _to, stream) =
        made(&schema, &format!("CREATE TYPE other AS ENUM ('a'); {schema}")).await;
    stream.copy_and_stop().await;
    let alter = "ALTER TABLE t ALTER COLUMN v TYPE num(14,2)";
    let changes = format!(
        "INSERT INTO t VALUES (1, '1.5');\n--\n{alter};\n--\nINSERT INTO t VALUES (2, '2.5')"
    );
    execute(&stream.source, &changes).await;
    execute(&stream.target, alter).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v::text FROM t").await;
}

#[tokio::test]
async fn a_column_that_becomes_another_composite_in_mid_stream_is_looked_at() {
    let schema = |modifier| {
        format!(
            "CREATE TYPE c1 AS (a text); CREATE TYPE c2 AS (a numeric(10,{modifier})); CREATE TABLE t (id int PRIMARY KEY, v c1);"
        )
    };
    let (_from, _to, stream) = made(&schema(4), &schema(2)).await;
    let alter = "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v c2";
    let changes =
        [("target", alter), ("source", alter), ("source", "INSERT INTO t VALUES (2, '(1.2345)')")];
    let error = streams(&stream, "INSERT INTO t VALUES (1)", &changes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("made of something else"), "{error}");
}

/// The server's own words say it, and not that a transaction is aborted.
#[tokio::test]
async fn a_table_of_the_target_that_is_gone_in_mid_stream_is_named() {
    for gone in ["DROP TABLE t", "ALTER TABLE t RENAME TO tt", "ALTER TABLE t RENAME v TO vv"] {
        let schema = "CREATE TABLE t (id int PRIMARY KEY, v int)";
        let (_from, _to, stream) = made(schema, schema).await;
        let changes = [("target", gone), ("source", "INSERT INTO t VALUES (2, 2)")];
        let error = streams(&stream, "INSERT INTO t VALUES (1)", &changes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        let text = error.to_string();
        assert!(text.contains("public.t`") && text.contains("not at the target"), "{text}");
    }
}

/// It waited for the transactions whose common commit was refused, and comes between them and their second attempt.
#[tokio::test]
async fn a_column_altered_at_the_target_after_a_refused_commit_rounds_nothing() {
    let (from, to) = databases("CREATE TABLE t (id int PRIMARY KEY, v numeric)").await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    let refuse = "CREATE SEQUENCE commits; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
            IF nextval(''public.commits'') = 1 THEN PERFORM pg_advisory_xact_lock(7); RAISE EXCEPTION ''refused''; END IF; RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE t ENABLE ALWAYS TRIGGER refuse";
    execute(&stream.target, refuse).await;
    execute(&stream.source, "INSERT INTO t VALUES (1, 1.234)").await;
    let holder = session(&stream.target).await;
    holder.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7)").await.unwrap();
    let waiting = |count: u8| {
        format!(
            "SELECT count(*) = {count} FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    };
    let work = async {
        until(&stream.target, &waiting(1), PATIENCE).await;
        let alter = execute(&stream.target, "ALTER TABLE t ALTER v TYPE numeric(10, 2)");
        let release = async {
            until(&stream.target, &waiting(2), PATIENCE).await;
            holder.batch_execute("COMMIT").await.unwrap();
        };
        tokio::join!(alter, release);
        // Whatever comes of it.
        tokio::time::sleep(PATIENCE).await;
    };
    let error = Box::pin(stream.run_once(Phase::Streaming, work, Control::Stop)).await.unwrap_err();
    assert_eq!(rows(&stream.target, "SELECT v FROM t").await, [""; 0], "{error}");
    execute(&stream.target, "ALTER TABLE t ALTER v TYPE numeric").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v FROM t").await;
}
