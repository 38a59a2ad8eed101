//! Tables that are altered, made or attached while the stream runs.

use std::time::Duration;

use stream_core::ErrorKind;
use stream_core::pipeline::Outcome;
use stream_core::postgres::SnapshotMode;
use stream_core::postgres::publication::AutoCreate;
use stream_core::sql::Ident;
use stream_core::throwaway::testing::{self, TestDatabase};

use crate::fixture::{Check, Stream, database, databases, databases_of, execute, rows, run, until};

#[tokio::test]
async fn columns_added_dropped_renamed_and_changed_on_both_sides() {
    run(&Check {
        facts: false,
        target_changes: "ALTER TABLE t ADD COLUMN added text DEFAULT 'none'; ALTER TABLE t ALTER COLUMN n TYPE bigint; ALTER TABLE t RENAME COLUMN old TO new;
            ALTER TABLE t ALTER COLUMN v TYPE text; ALTER TABLE t ADD COLUMN e mood; ALTER TABLE k ADD COLUMN added int; ALTER TABLE k DROP COLUMN gone",
        expect: &[("SELECT id, n, added, new FROM t WHERE id IN (1, 21)", &["(1,-1,u,o)", "(21,5000000000,x,y)"])],
        ..Check::new(
            "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (id int PRIMARY KEY, n int, v varchar(10), old text, gone text); INSERT INTO t SELECT i, i, 'v', 'o', 'g' FROM generate_series(1, 20) i;
             CREATE TABLE k (a int, gone int, b text); INSERT INTO k SELECT i, i, 'b' FROM generate_series(1, 20) i;",
            "ALTER TABLE t ADD COLUMN added text DEFAULT 'none'; ALTER TABLE t ALTER COLUMN n TYPE bigint; ALTER TABLE t RENAME COLUMN old TO new; ALTER TABLE t DROP COLUMN gone; ALTER TABLE t ALTER COLUMN v TYPE text; ALTER TABLE t ADD COLUMN e mood;
             ALTER TABLE k ADD COLUMN added int; ALTER TABLE k DROP COLUMN gone;
--
             INSERT INTO t VALUES (21, 5000000000, 'longer than ten', 'y', 'x', 'b'); INSERT INTO t (id, added) SELECT i, 'many' FROM generate_series(22, 60) i; UPDATE t SET n = -n, added = 'u' WHERE id < 5; DELETE FROM t WHERE id = 6;
             UPDATE k SET added = a; DELETE FROM k WHERE a = 3; INSERT INTO k SELECT i, 'c', i FROM generate_series(21, 60) i;
--
             BEGIN; INSERT INTO t (id) VALUES (100); ALTER TABLE t ALTER COLUMN n SET DEFAULT 9; INSERT INTO t (id) VALUES (101); COMMIT;",
        )
    })
    .await;
}

#[tokio::test]
async fn rows_of_one_transaction_have_the_columns_of_their_time() {
    run(&Check {
        facts: false,
        target_changes: "ALTER TABLE t ADD COLUMN y text",
        compared: &["k"],
        expect: &[
            ("SELECT id, w, x FROM t WHERE id IN (1, 2, 50, 150)", &["(1,w,x)", "(150,w,x)", "(2,w,x)", "(50,w,x)"]),
            ("SELECT id, v, y FROM t WHERE id IN (1, 2, 50, 150)", &["(1,old,)", "(150,,many)", "(2,v,new)", "(50,many,)"]),
            ("SELECT count(*) FROM t WHERE w <> 'w' OR x <> 'x'", &["(0)"]),
        ],
        ..Check::new(
            "CREATE TABLE t (id int PRIMARY KEY, v text, w text, x text); INSERT INTO t SELECT i, 'v', 'w', 'x' FROM generate_series(1, 20) i;
             CREATE TABLE k (a int, v text, w text); INSERT INTO k SELECT i, 'v', 'w' FROM generate_series(1, 20) i;",
            "BEGIN; UPDATE t SET v = 'old' WHERE id = 1; INSERT INTO t SELECT i, 'many', 'w', 'x' FROM generate_series(50, 80) i; DELETE FROM k WHERE a = 1;
             ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN y text; ALTER TABLE k ALTER COLUMN v TYPE text COLLATE \"C\";
             UPDATE t SET y = 'new' WHERE id = 2; INSERT INTO t (id, w, x, y) SELECT i, 'w', 'x', 'many' FROM generate_series(150, 180) i; UPDATE k SET v = 'k' WHERE a = 2; COMMIT;",
        )
    })
    .await;
}

#[tokio::test]
async fn a_type_that_was_changed_at_both_ends_since_the_log_was_written() {
    let alter = "ALTER TABLE t ALTER COLUMN v TYPE text";
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = databases_of(server, "CREATE TABLE t (id int PRIMARY KEY, v int)").await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        // The bytes of the number are those of a text, `abcd`.
        let before = "INSERT INTO t VALUES (1, 1633837924)";
        execute(
            &stream.source,
            &format!("{before};\n--\n{alter}; INSERT INTO t VALUES (2, 'new')"),
        )
        .await;
        execute(&stream.target, alter).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1,1633837924)", "(2,new)"]);
    }
}

#[tokio::test]
async fn a_column_that_is_only_at_the_source_stops_the_stream_until_it_is_added() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) =
            databases_of(server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
                .await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        let changes = "INSERT INTO t VALUES (2);\n--\nALTER TABLE t ADD COLUMN extra int DEFAULT 7; INSERT INTO t VALUES (3, 3)";
        let error = stream.run_with(execute(&stream.source, changes)).await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("`extra`") && text.contains("public.t") && text.contains("ALTER TABLE"),
            "{text}"
        );
        // Without the default the rows that are there lack their value: the other remedy brings it.
        execute(&stream.target, "ALTER TABLE t ADD COLUMN extra int").await;
        let copy_again = text.split('`').find(|part| part.starts_with("UPDATE sgstream")).unwrap();
        execute(&stream.target, copy_again).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1,7)", "(2,7)", "(3,3)"]);
    }
}

/// Only the log has it by then, with the number of its type.
#[tokio::test]
async fn the_statement_for_a_column_of_the_log_has_its_type() {
    for (type_, first) in [
        ("timestamp(3) with time zone", ""),
        ("numeric(10,2)[]", ""),
        // A type of a user is known from another column.
        ("mood", ""),
        ("late", "CREATE TYPE late AS ENUM ('a')"),
    ] {
        let (from, to) = databases(
            "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, m mood)",
        )
        .await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        let add = format!("ALTER TABLE t ADD COLUMN extra {type_}");
        let changes = format!(
            "{first};\n--\n{add}; INSERT INTO t VALUES (1, 'a', NULL);\n--\nALTER TABLE t DROP COLUMN extra"
        );
        execute(&stream.source, &changes).await;
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        let text = error.to_string();
        let quoted =
            |start: &str| text.split('`').find(|part| part.starts_with(start)).map(str::to_owned);
        let remedy = match quoted("ALTER TABLE") {
            Some(statement) => statement,
            None => {
                assert_eq!(type_, "late", "{text}");
                execute(&stream.source, &add).await;
                let asked = rows(&stream.source, &quoted("SELECT").unwrap()).await;
                assert_eq!(asked, ["(late)"], "{text}");
                format!("{first}; {add}")
            }
        };
        execute(&stream.target, &remedy).await;
        let made = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'extra'";
        let made = rows(&stream.target, made).await;
        assert!(made[0].contains(type_), "{made:?}");
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{type_}");
        assert_eq!(rows(&stream.target, "SELECT id, m FROM t").await, ["(1,a)"]);
    }
}

#[tokio::test]
async fn an_excluded_key_column_is_refused_before_anything_is_made() {
    let (from, to) =
        databases("CREATE TABLE t (a int, b int, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 2)")
            .await;
    let mut stream = Stream::new(&from, &to);
    stream.excludes = vec![r"public\.t\.b".to_owned()];
    let error = stream.complete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let text = error.to_string();
    assert!(text.contains("`public.t`") && text.contains("`b`: excluded"), "{text}");
    let made =
        "SELECT 1 FROM pg_class WHERE relname = 't' AND relnamespace = 'public'::regnamespace";
    assert_eq!(rows(&stream.target, made).await.len(), 0);
}

#[tokio::test]
async fn a_target_column_that_is_too_small_is_refused() {
    let server = testing::server(testing::oldest_major());
    let cases = [
        ("v varchar(20)", "v varchar(10)"),
        ("v text", "v varchar(10)"),
        ("v numeric(10,3)", "v numeric(10,2)"),
        ("v numeric", "v numeric(10,2)"),
        ("v timestamp", "v timestamp(0)"),
        ("v bit(3)", "v bit(4)"),
        ("v bigint", "v int"),
        ("v timestamptz", "v timestamp"),
        ("v float8", "v float4"),
        ("v int[]", "v text[]"),
        ("v char(5)", "v char(4)"),
        ("v interval", "v interval(0)"),
        ("v varbit", "v varbit(2)"),
        ("v json", "v text"),
    ];
    for (source, target) in cases {
        let (from, to) = (
            TestDatabase::create(server).await.unwrap(),
            TestDatabase::create(server).await.unwrap(),
        );
        execute(
            &from.url().parse().unwrap(),
            &format!("CREATE TABLE t (id int PRIMARY KEY, {source})"),
        )
        .await;
        execute(
            &to.url().parse().unwrap(),
            &format!("CREATE TABLE t (id int PRIMARY KEY, {target})"),
        )
        .await;
        let mut stream = Stream::new(&from, &to);
        stream.import = false;
        let error = match stream.complete().await {
            Err(error) => error,
            Ok(_) => panic!("{source} went into {target}"),
        };
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().contains("`v`"), "{error}");
    }
}

/// Its values would be the target's own, with nothing said.
#[tokio::test]
async fn a_target_column_that_is_computed_is_refused_where_the_source_has_values() {
    let (oldest, newest) = (testing::oldest_major(), *testing::majors().last().unwrap());
    let (initial, never) = (SnapshotMode::Initial, SnapshotMode::Never);
    let mut cases = vec![(oldest, "STORED", initial), (newest, "STORED", never)];
    if newest >= 18 {
        cases.push((newest, "VIRTUAL", never));
    }
    for (major, kind, mode) in cases {
        let server = testing::server(major);
        let (from, to) = (database(server, "").await, database(server, "").await);
        let both = format!("id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + 1) {kind}");
        from.execute(&format!("CREATE TABLE t ({both}, v int)")).await.unwrap();
        let computed = format!("v int GENERATED ALWAYS AS (id * 2) {kind}");
        to.execute(&format!("CREATE TABLE t ({both}, {computed})")).await.unwrap();
        let mut stream = Stream::new(&from, &to);
        (stream.mode, stream.import) = (mode, false);
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        let text = error.to_string();
        assert!(text.contains("column `v` of `public.t`") && !text.contains("`g`"), "{text}");
        let remedy = text.split('`').find(|part| part.starts_with("ALTER TABLE")).unwrap();
        execute(&stream.target, remedy).await;
        let changes = execute(&stream.source, "INSERT INTO t VALUES (1, DEFAULT, 7)");
        assert_eq!(stream.run_with(changes).await.unwrap(), Outcome::Completed, "{kind}");
        assert_eq!(rows(&stream.target, "SELECT id, g, v FROM t").await, ["(1,2,7)"], "{kind}");
    }
}

/// The other way that the message says.
#[tokio::test]
async fn a_computed_column_that_is_excluded_stays_the_target_s() {
    run(&Check {
        target: Some(
            "CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)",
        ),
        excludes: &[r"public\.t\.v"],
        facts: false,
        compared: &["none"],
        expect: &[("SELECT id, v FROM t", &["(1,2)", "(3,6)"])],
        once: true,
        ..Check::new(
            "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 7)",
            "INSERT INTO t VALUES (2, 7); UPDATE t SET id = 3, v = 8 WHERE id = 2",
        )
    })
    .await;
}

#[tokio::test]
async fn a_new_table_in_a_publication_for_all_tables() {
    for publication in [AutoCreate::AllTables, AutoCreate::Filtered] {
        run(&Check {
            publication,
            ..Check::new(
                "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 20) i;",
                "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE later (id int PRIMARY KEY, m mood, t_id int REFERENCES t); INSERT INTO later SELECT i, 'a', i FROM generate_series(1, 20) i;
--
                 UPDATE later SET id = id + 100 WHERE id < 5; INSERT INTO t VALUES (100, 'x'); INSERT INTO later VALUES (200, 'a', 100);
--
                 CREATE TABLE keyless AS SELECT 1 AS a FROM generate_series(1, 5); INSERT INTO keyless VALUES (1);",
            )
        })
        .await;
    }
}

/// What the log lacks of a table is copied, wherever the table was copied before.
#[tokio::test]
async fn a_table_made_anew_and_one_taken_out_of_the_publication() {
    for stopped in [false, true] {
        let (from, to) = databases("CREATE TABLE anew (id int PRIMARY KEY, v text); INSERT INTO anew SELECT i, 'old' FROM generate_series(1, 10) i;
             CREATE TABLE out (id int PRIMARY KEY); INSERT INTO out VALUES (1); CREATE TABLE beside (id int PRIMARY KEY)").await;
        let stream = Stream::new(&from, &to);
        let changes = format!(
            "DROP TABLE anew; CREATE TABLE anew (id int PRIMARY KEY, v text); INSERT INTO anew SELECT i, 'new' FROM generate_series(5, 12) i;
--
             ALTER PUBLICATION {} DROP TABLE out; INSERT INTO out VALUES (2); INSERT INTO beside VALUES (1);",
            Ident(&stream.name)
        );
        if stopped {
            stream.copy_and_stop().await;
            execute(&stream.source, &changes).await;
            assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        } else {
            assert_eq!(
                stream.run_with(execute(&stream.source, &changes)).await.unwrap(),
                Outcome::Completed
            );
        }
        for table in ["anew", "out", "beside"] {
            let sql = format!("SELECT * FROM {table}");
            assert_eq!(
                rows(&stream.target, &sql).await,
                rows(&stream.source, &sql).await,
                "{table}"
            );
        }
    }
}

/// Without keys nothing but the rows themselves shows that a name stands for another table.
#[tokio::test]
async fn a_name_that_is_given_to_another_table() {
    let schema = "CREATE TABLE t (v text); INSERT INTO t SELECT 'old' FROM generate_series(1, 10); CREATE TABLE new (v text); INSERT INTO new SELECT 'new' FROM generate_series(1, 20);";
    let swap = "ALTER TABLE t RENAME TO old; ALTER TABLE new RENAME TO t; INSERT INTO t VALUES ('later'); INSERT INTO old VALUES ('later');";
    let anew = "DROP TABLE t; CREATE TABLE t (v text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t SELECT 'anew' FROM generate_series(1, 30); DELETE FROM t WHERE ctid = '(0,1)';";
    for publication in [AutoCreate::AllTables, AutoCreate::Filtered] {
        for changes in [swap, anew] {
            run(&Check {
                publication,
                facts: false,
                compared: &["public.t", "public.old"],
                ..Check::new(schema, changes)
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_table_out_of_the_publication_for_a_while_that_nobody_saw() {
    let (from, to) = databases("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE beside (id int PRIMARY KEY)").await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    let publication = Ident(&stream.name);
    execute(
        &stream.source,
        &format!(
            "ALTER PUBLICATION {publication} DROP TABLE t;
--
             INSERT INTO t VALUES (2);
--
             ALTER PUBLICATION {publication} ADD TABLE t; INSERT INTO t VALUES (3); INSERT INTO beside VALUES (1);"
        ),
    )
    .await;
    execute(&stream.target, "INSERT INTO beside VALUES (-1)").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1)", "(2)", "(3)"]);
    // What was published all the time is not copied again.
    assert_eq!(rows(&stream.target, "SELECT * FROM beside").await, ["(-1)", "(1)"]);
}

#[tokio::test]
async fn partitions_made_and_attached_in_mid_stream() {
    for publication in [AutoCreate::AllTables, AutoCreate::Filtered] {
        run(&Check {
            publication,
            facts: false,
            target: Some("CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE p_rest PARTITION OF p DEFAULT;"),
            compared: &["public.p"],
            ..Check::new(
                "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p SELECT i, 'v' FROM generate_series(1, 20) i;",
                "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p SELECT i, 'w' FROM generate_series(100, 150) i; UPDATE p SET id = id + 90 WHERE id BETWEEN 15 AND 19 AND id + 90 NOT IN (SELECT id FROM p);
--
                 UPDATE p SET v = 'u' WHERE id > 120; DELETE FROM p WHERE id = 130;",
            )
        })
        .await;
    }
}

#[tokio::test]
async fn a_table_attached_in_mid_stream_keeps_its_rows_once() {
    run(&Check {
        facts: false,
        target: Some(
            "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE lone (id int PRIMARY KEY, v text);",
        ),
        target_changes: "ALTER TABLE p ATTACH PARTITION lone FOR VALUES FROM (200) TO (300)",
        ..Check::new(
            "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p SELECT i, 'v' FROM generate_series(1, 20) i;
             CREATE TABLE lone (id int PRIMARY KEY, v text); INSERT INTO lone SELECT i, 'l' FROM generate_series(200, 220) i;",
            "ALTER TABLE p ATTACH PARTITION lone FOR VALUES FROM (200) TO (300); INSERT INTO p SELECT i, 'w' FROM generate_series(230, 260) i; UPDATE p SET id = 50 WHERE id = 200; DELETE FROM p WHERE id = 201;
--
             UPDATE p SET v = 'u' WHERE id > 210;",
        )
    })
    .await;
}

/// A partition is published by its root's entry, which is the same before and after: the changes between are in no log.
#[tokio::test]
async fn a_partition_detached_written_and_attached_again_between_two_looks() {
    for stopped in [false, true] {
        let (from, to) = databases("CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
             CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id); CREATE TABLE p2_rest PARTITION OF p2 DEFAULT;
             INSERT INTO p SELECT i, 'v' FROM generate_series(90, 110) i; CREATE TABLE beside (id int PRIMARY KEY);").await;
        let stream = Stream::new(&from, &to);
        let changes = "ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p DETACH PARTITION p2;
--
            UPDATE p1 SET v = 'unseen' WHERE id = 95; DELETE FROM p1 WHERE id = 96; INSERT INTO p2 VALUES (150, 'unseen');
--
            ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (100); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200);
            INSERT INTO p VALUES (50, 'seen'), (160, 'seen'); INSERT INTO beside VALUES (1);";
        let changes = async {
            execute(&stream.source, changes).await;
            // What was published all the time is not copied again.
            execute(&stream.target, "INSERT INTO beside VALUES (-1)").await;
        };
        let ended = stream.meet(changes, stopped).await;
        assert_eq!(ended.unwrap(), Outcome::Completed);
        let sql = "SELECT * FROM p";
        let (there, here) = (rows(&stream.target, sql).await, rows(&stream.source, sql).await);
        assert_eq!(there, here, "stopped: {stopped}");
        assert_eq!(rows(&stream.target, "SELECT * FROM beside").await, ["(-1)", "(1)"]);
    }
}

/// The log describes them for ever, and no look finds them.
#[tokio::test]
async fn tables_that_come_and_go_between_two_looks_stop_nothing() {
    for publication in [AutoCreate::AllTables, AutoCreate::Filtered] {
        run(&Check {
            publication,
            ..Check::new(
                "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p VALUES (1);",
                "CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone VALUES (1);
                 CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (100), (2);
--
                 DROP TABLE gone; DROP TABLE p2; INSERT INTO p VALUES (3);",
            )
        })
        .await;
    }
}

#[tokio::test]
async fn a_table_that_comes_later_is_taken_up_while_nothing_else_happens() {
    let (from, to) =
        databases("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let stream = Stream::new(&from, &to);
    let work = async {
        execute(
            &stream.source,
            "CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)",
        )
        .await;
        until(&stream.target, "SELECT count(*) = 1 FROM public.later", Duration::from_secs(60))
            .await;
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
}
