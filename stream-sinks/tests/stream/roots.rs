//! Partitions that come under the name of their root.

use stream_core::pipeline::Outcome;
use stream_core::postgres::publication::AutoCreate;
use stream_core::{Error, ErrorKind};

use crate::fixture::{Check, Stream, databases, execute, rows, run};

const DIVIDED: &str = "CREATE TABLE m (id int, region text, at date, v text, PRIMARY KEY (id, region, at)) PARTITION BY LIST (region);
    CREATE TABLE m_eu PARTITION OF m FOR VALUES IN ('eu') PARTITION BY RANGE (at);
    CREATE TABLE m_eu_1 PARTITION OF m_eu FOR VALUES FROM ('2024-01-01') TO ('2024-02-01'); CREATE TABLE m_eu_2 PARTITION OF m_eu FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
    CREATE TABLE m_us (v text, at date NOT NULL, gone int, region text NOT NULL, id int NOT NULL); ALTER TABLE m_us DROP COLUMN gone; ALTER TABLE m ATTACH PARTITION m_us FOR VALUES IN ('us');
    CREATE TABLE m_rest PARTITION OF m DEFAULT;
    CREATE TABLE k (n int, v text) PARTITION BY LIST (n); CREATE TABLE k1 PARTITION OF k FOR VALUES IN (1); CREATE TABLE k_rest PARTITION OF k DEFAULT;
    CREATE TABLE none_yet (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE plain (id int PRIMARY KEY);
    INSERT INTO m SELECT i, (ARRAY['eu', 'us', 'xx'])[1 + i % 3], '2024-01-01'::date + i % 50, 'v' FROM generate_series(1, 100) i;
    INSERT INTO k SELECT i % 4, 'v' || i % 9 FROM generate_series(1, 40) i; INSERT INTO plain VALUES (1);";

const CHANGES: &str = "INSERT INTO m SELECT i, (ARRAY['eu', 'us', 'xx'])[1 + i % 3], '2024-01-01'::date + i % 50, 'w' FROM generate_series(101, 200) i;
    UPDATE m SET region = 'us' WHERE id = 3; UPDATE m SET at = '2024-02-02' WHERE region = 'eu' AND at = '2024-01-04'; UPDATE m SET v = 'u' WHERE id % 7 = 0; DELETE FROM m WHERE id % 11 = 0;
    UPDATE m_us SET id = id + 1000 WHERE id < 20; UPDATE k SET v = 'same' WHERE n = 2; DELETE FROM k WHERE v = 'v3'; UPDATE k SET n = 1 WHERE n = 0; INSERT INTO plain VALUES (2);
--
    CREATE TABLE ten PARTITION OF none_yet FOR VALUES FROM (0) TO (10); INSERT INTO none_yet SELECT generate_series(1, 9); DELETE FROM none_yet WHERE id = 4;
--
    TRUNCATE k; INSERT INTO k SELECT i % 3, 'again' FROM generate_series(1, 9) i;";

#[tokio::test]
async fn partitions_under_their_roots_names_into_the_same_partitions() {
    for publication in [AutoCreate::Filtered, AutoCreate::AllTables] {
        run(&Check { publication, via_root: true, ..Check::new(DIVIDED, CHANGES) }).await;
    }
}

#[tokio::test]
async fn partitions_under_their_roots_names_into_a_plain_table_and_into_others() {
    run(&Check {
        via_root: true,
        facts: false,
        target: Some(
            "CREATE TABLE m (v text, id int, region text, at date, PRIMARY KEY (id, region, at)); CREATE TABLE k (n int, v text) PARTITION BY HASH (n);
             CREATE TABLE k_a PARTITION OF k FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE k_b PARTITION OF k FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             CREATE TABLE none_yet (id int PRIMARY KEY); CREATE TABLE plain (id int PRIMARY KEY);",
        ),
        compared: &["public.k", "public.none_yet", "public.plain"],
        expect: &[
            ("SELECT count(*) FROM m", &["(182)"]),
            ("SELECT count(*) FROM m WHERE v = 'u' AND id % 7 <> 0 AND region <> 'us'", &["(0)"]),
        ],
        ..Check::new(DIVIDED, CHANGES)
    })
    .await;
}

const RANGES: &str = "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE p_rest PARTITION OF p DEFAULT;
    CREATE TABLE lone (id int PRIMARY KEY, v text); INSERT INTO lone SELECT i, 'l' FROM generate_series(200, 220) i; INSERT INTO p SELECT i, 'v' FROM generate_series(1, 20) i;";

/// A row that only the target has shows whether the table was copied again.
const MARK: &str = "INSERT INTO p VALUES (99, 'mark')";

/// A partition that is made as one comes with all its rows in the log; one that is attached may have come with rows that are not there.
#[tokio::test]
async fn a_root_is_copied_again_where_a_partition_was_attached_and_not_where_one_was_made() {
    let made = "BEGIN; INSERT INTO p VALUES (21, 'before'); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (150, 'made'); COMMIT;
--
        ALTER TABLE p2 RENAME TO p2_renamed; INSERT INTO p VALUES (151, 'renamed');
--
        BEGIN; CREATE TABLE gone PARTITION OF p FOR VALUES FROM (500) TO (600); INSERT INTO p VALUES (500, 'with its table'); DELETE FROM p WHERE id = 500; COMMIT;
--
        DROP TABLE gone; INSERT INTO p VALUES (152, 'after')";
    let attached = "ALTER TABLE p ATTACH PARTITION lone FOR VALUES FROM (200) TO (300); UPDATE p SET v = 'u' WHERE id > 215; INSERT INTO p VALUES (230, 'new')";
    let at_once = "BEGIN; CREATE TABLE own (id int PRIMARY KEY, v text); INSERT INTO own VALUES (300, 'unseen'); ALTER TABLE p ATTACH PARTITION own FOR VALUES FROM (300) TO (400); COMMIT";
    let again = "ALTER TABLE p DETACH PARTITION p1; UPDATE p1 SET v = 'unseen' WHERE id = 5; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (100); INSERT INTO p VALUES (50, 'seen')";
    for stopped in [false, true] {
        for (changes, kept) in [(made, 1), (attached, 0), (at_once, 0), (again, 0)] {
            let (from, to) = databases(RANGES).await;
            let mut stream = Stream::new(&from, &to);
            stream.via_root = true;
            stream.copy_and_stop().await;
            execute(&stream.target, MARK).await;
            let changes = execute(&stream.source, changes);
            let ended = if stopped {
                changes.await;
                stream.complete().await
            } else {
                stream.run_with(changes).await
            };
            assert_eq!(ended.unwrap(), Outcome::Completed, "stopped: {stopped}");
            let marks = rows(&stream.target, "SELECT FROM p WHERE v = 'mark'").await.len();
            assert_eq!(marks, kept, "stopped: {stopped}");
            let sql = "SELECT * FROM p WHERE v <> 'mark'";
            let (there, here) = (rows(&stream.target, sql).await, rows(&stream.source, sql).await);
            assert_eq!(there, here, "stopped: {stopped}");
        }
    }
}

/// What cannot be told apart under one name is refused before anything is made.
#[tokio::test]
async fn partitions_that_are_not_captured_as_their_root_are_named() {
    for (schema, exclude) in [
        ("", "public.p1"),
        ("", "public.p1.v"),
        ("ALTER TABLE p1 REPLICA IDENTITY FULL", "public.lone"),
        ("ALTER TABLE p1 SET UNLOGGED", "public.lone"),
    ] {
        let (from, to) = databases(RANGES).await;
        from.execute(schema).await.unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.via_root = true;
        stream.excludes = vec![exclude.to_owned()];
        let error: Error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{schema} {exclude}: {error}");
        let text = error.to_string();
        for part in ["`public.p1`", "set `publishViaPartitionRoot: false`"] {
            assert!(text.contains(part), "{schema} {exclude}: no {part} in {text}");
        }
        assert!(rows(&stream.source, "SELECT FROM pg_publication").await.is_empty());
        stream.via_root = false;
        stream.excludes = vec!["public.p1".to_owned()];
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{schema} {exclude}");
    }
}
