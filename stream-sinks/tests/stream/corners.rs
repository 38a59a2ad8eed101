//! Corners in which a stream once went wrong.

use stream_core::pipeline::Outcome;
use stream_core::sql::Ident;
use stream_core::throwaway::testing;

use crate::fixture::{Check, Stream, check, databases_of, execute, rows, run};

/// `transaction_timeout` is new in PostgreSQL 17.
#[tokio::test]
async fn a_copy_may_take_longer_than_the_databases_let_a_transaction() {
    for major in testing::majors().into_iter().filter(|major| *major >= 17) {
        let sql = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
        let (from, to) = databases_of(testing::server(major), sql).await;
        to.execute("CREATE FUNCTION slow(int) RETURNS boolean LANGUAGE sql AS 'SELECT pg_sleep(1) IS NOT NULL'; CREATE TABLE t (id int PRIMARY KEY CHECK (slow(id)))").await.unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.import = false;
        for options in [&stream.source, &stream.target] {
            let database = Ident(&options.database);
            let sql = format!("ALTER DATABASE {database} SET transaction_timeout = '500ms'");
            execute(options, &sql).await;
        }
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1)"]);
    }
}

/// No UPDATE can give a GENERATED ALWAYS column a value: a row whose column changed is replaced.
#[tokio::test]
async fn an_always_identity_outside_of_the_key_that_changes() {
    check(
        "CREATE TABLE beside (k text PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text);
         INSERT INTO beside (k, v) SELECT 'k' || i, 'v' FROM generate_series(1, 50) i;",
        "UPDATE beside SET n = DEFAULT WHERE k = 'k1'; UPDATE beside SET k = 'z', n = DEFAULT WHERE k = 'k3';",
    )
    .await;
}

/// A row that is replaced for its GENERATED ALWAYS column keeps the large values that the log does not hold.
#[tokio::test]
async fn an_always_identity_that_changes_beside_unchanged_toast() {
    check(
        "CREATE TABLE by_key (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, big text, n int);
         CREATE TABLE beside (k int PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY, big text, n int);
         CREATE TABLE by_image (id int GENERATED ALWAYS AS IDENTITY, big text, n int); ALTER TABLE by_image REPLICA IDENTITY FULL;
         ALTER TABLE by_key ALTER big SET STORAGE EXTERNAL; ALTER TABLE beside ALTER big SET STORAGE EXTERNAL; ALTER TABLE by_image ALTER big SET STORAGE EXTERNAL;
         INSERT INTO by_key (big, n) SELECT repeat(i::text, 4000), i FROM generate_series(1, 20) i;
         INSERT INTO beside (k, big, n) SELECT i, repeat(i::text, 4000), i FROM generate_series(1, 20) i;
         INSERT INTO by_image (big, n) SELECT repeat(i::text, 4000), i FROM generate_series(1, 20) i;",
        "UPDATE by_key SET id = DEFAULT, n = 7 WHERE id = 3; UPDATE by_image SET id = DEFAULT, n = 7 WHERE id = 3;
         UPDATE by_key SET id = DEFAULT WHERE n > 15; UPDATE by_image SET id = DEFAULT WHERE n > 15;
--
         UPDATE beside SET id = DEFAULT WHERE k = 3; UPDATE beside SET k = 100, id = DEFAULT WHERE k = 4; UPDATE beside SET n = 9 WHERE k = 3;",
    )
    .await;
}

/// A root without any partition holds no rows, and is imported all the same.
#[tokio::test]
async fn a_partitioned_table_without_partitions() {
    check(
        "CREATE TABLE empty_root (a int PRIMARY KEY) PARTITION BY HASH (a); CREATE TABLE t (id int PRIMARY KEY);",
        "INSERT INTO t VALUES (1);",
    )
    .await;
}

/// A new partition of an imported root is imported before its rows come.
#[tokio::test]
async fn a_new_partition_of_an_imported_table() {
    run(&Check::new(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p SELECT i, 'v' FROM generate_series(1, 20) i;
         CREATE TABLE lone (id int PRIMARY KEY, v text); INSERT INTO lone SELECT i, 'l' FROM generate_series(200, 220) i;",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p SELECT i, 'w' FROM generate_series(100, 150) i;
--
         UPDATE p SET v = 'u' WHERE id > 120; DELETE FROM p WHERE id = 130; UPDATE p SET id = 99 WHERE id = 100;",
    ))
    .await;
}

/// An excluded column is left out of a table that the import makes, NOT NULL or not.
#[tokio::test]
async fn excluded_columns_and_included_columns() {
    run(&Check {
        excludes: &[r"public\.people\.secret", r"public\.hidden", r"public\.people\.big"],
        facts: false,
        compared: &["public.people"],
        expect: &[
            ("SELECT attname FROM pg_attribute WHERE attrelid = 'people'::regclass AND attnum > 0 AND NOT attisdropped", &["(id)", "(name)"]),
            ("SELECT to_regclass('hidden') IS NULL", &["(t)"]),
        ],
        ..Check::new(
            "CREATE TABLE people (id int PRIMARY KEY, secret text NOT NULL, name text, big text); CREATE TABLE hidden (id int PRIMARY KEY);
             INSERT INTO people SELECT i, 's', 'n', repeat('x', 3000) FROM generate_series(1, 20) i; INSERT INTO hidden VALUES (1);",
            "INSERT INTO people SELECT i, 's', 'm', NULL FROM generate_series(21, 60) i; UPDATE people SET secret = 'changed' WHERE id = 1; UPDATE people SET name = 'u' WHERE id < 5; UPDATE people SET id = -id WHERE id = 7; DELETE FROM people WHERE id = 8; INSERT INTO hidden VALUES (2);",
        )
    })
    .await;
    run(&Check {
        includes: &[r"public\.people\.name"],
        facts: false,
        compared: &["public.people"],
        expect: &[("SELECT attname FROM pg_attribute WHERE attrelid = 'people'::regclass AND attnum > 0 AND NOT attisdropped", &["(id)", "(name)"])],
        ..Check::new(
            "CREATE TABLE people (id int PRIMARY KEY, secret text NOT NULL, name text, big text); INSERT INTO people SELECT i, 's', 'n', repeat('x', 3000) FROM generate_series(1, 20) i;",
            "INSERT INTO people SELECT i, 's', 'm', NULL FROM generate_series(21, 60) i; UPDATE people SET secret = 'changed', name = 'u' WHERE id = 1; UPDATE people SET id = -id WHERE id = 7; DELETE FROM people WHERE id = 8;",
        )
    })
    .await;
}
