//! How rows are found again: keys, replica identities, and none.

use stream_core::ErrorKind;

use crate::fixture::{Check, Stream, check, databases, execute, rows, run};

#[tokio::test]
async fn keys_that_change_in_chains_and_swaps() {
    check(
        "CREATE TABLE chain (id int PRIMARY KEY, v text);
         INSERT INTO chain SELECT i, 'row ' || i FROM generate_series(1, 100) i;
         CREATE TABLE pair (a int, b text, v int, PRIMARY KEY (b, a));
         INSERT INTO pair SELECT i, 'b' || i, i FROM generate_series(1, 20) i;
         CREATE TABLE swap (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, u int UNIQUE DEFERRABLE, v text);
         INSERT INTO swap SELECT i, i, 'v' || i FROM generate_series(1, 20) i;",
        "UPDATE chain SET id = id + 1000;
         UPDATE chain SET id = 1 WHERE id = 1100; UPDATE chain SET id = 2, v = 'two' WHERE id = 1;
         INSERT INTO chain VALUES (1, 'new one'); UPDATE chain SET id = 3 WHERE id = 2;
         DELETE FROM chain WHERE id = 3; INSERT INTO chain VALUES (3, 'again');
--
         UPDATE pair SET a = a + 1, b = 'b' || a + 1, v = -v WHERE a = 20;
         UPDATE pair SET b = 'moved' WHERE a < 5; UPDATE pair SET v = 99 WHERE b = 'moved' AND a = 2;
--
         BEGIN; UPDATE chain SET id = -1 WHERE id = 1001; UPDATE chain SET id = 1001 WHERE id = 1002;
         UPDATE chain SET id = 1002 WHERE id = -1; COMMIT;
--
         DELETE FROM chain WHERE id = 1050;
--
         INSERT INTO chain VALUES (1050, 'reborn');",
    )
    .await;
}

#[tokio::test]
async fn deferred_keys_that_change_places() {
    run(&Check {
        facts: false,
        ..Check::new(
            "CREATE TABLE swap (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text);
             INSERT INTO swap SELECT i, i, 'v' || i FROM generate_series(1, 20) i;
             CREATE TABLE turn (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text); INSERT INTO turn SELECT i, 'v' || i FROM generate_series(1, 20) i;",
            "UPDATE swap SET u = 21 - u; UPDATE turn SET id = 21 - id;
--
             BEGIN; UPDATE swap SET u = 5 WHERE id = 1; UPDATE swap SET u = 500 WHERE id = 16; COMMIT;
--
             UPDATE swap SET u = u + 1;",
        )
    })
    .await;
}

#[tokio::test]
async fn unchanged_toast_under_every_identity() {
    let long =
        "(SELECT string_agg(md5(i::text || random()::text), '') FROM generate_series(1, 2000) i)";
    let schema = format!(
        "CREATE TABLE by_key (id int PRIMARY KEY, n int, a text, b text, c bytea);
         CREATE TABLE by_full (id int PRIMARY KEY, n int, a text, b text, c bytea);
         ALTER TABLE by_full REPLICA IDENTITY FULL;
         CREATE TABLE by_index (id int NOT NULL, n int, a text, b text, c bytea);
         CREATE UNIQUE INDEX by_index_id ON by_index (id);
         ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id;
         CREATE TABLE keyless (id int, n int, a text, b text, c bytea);
         ALTER TABLE keyless REPLICA IDENTITY FULL;
         CREATE TABLE by_long_key (k text PRIMARY KEY, n int, a text);
         ALTER TABLE by_long_key ALTER k SET STORAGE EXTERNAL;
         INSERT INTO by_key SELECT i, i, {long}, {long}, {long}::bytea FROM generate_series(1, 5) i;
         INSERT INTO by_full SELECT * FROM by_key; INSERT INTO by_index SELECT * FROM by_key;
         INSERT INTO keyless SELECT * FROM by_key;
         INSERT INTO by_long_key SELECT repeat(i::text, 2200), i, {long} FROM generate_series(1, 5) i;"
    );
    let mut changes = String::new();
    for table in ["by_key", "by_full", "by_index", "keyless"] {
        changes += &format!(
            "UPDATE {table} SET n = n + 1; UPDATE {table} SET a = 'short' WHERE id = 1;
             UPDATE {table} SET id = id + 10, n = 0 WHERE id = 2;
             INSERT INTO {table} VALUES (50, 0, {long}, {long}, {long}::bytea);
             UPDATE {table} SET n = 7 WHERE id = 50; UPDATE {table} SET id = 51 WHERE id = 50;
             UPDATE {table} SET b = NULL WHERE id = 51; UPDATE {table} SET n = n WHERE id = 3;
             DELETE FROM {table} WHERE id = 4;
\n--\n       UPDATE {table} SET n = n + 1 WHERE id = 51;
             INSERT INTO {table} SELECT i, i, {long}, 'b', NULL FROM generate_series(100, 140) i;
             UPDATE {table} SET n = -n WHERE id >= 100; UPDATE {table} SET id = id + 1000 WHERE id >= 120;
\n--\n"
        );
    }
    changes += &format!(
        "UPDATE by_long_key SET n = n + 1; UPDATE by_long_key SET k = 'k' || k WHERE n = 3;
         DELETE FROM by_long_key WHERE n = 4; INSERT INTO by_long_key VALUES (repeat('x', 2500), 9, {long});
         UPDATE by_long_key SET n = 10 WHERE n = 9;"
    );
    check(&schema, &changes).await;
}

#[tokio::test]
async fn every_replica_identity() {
    check(
        "CREATE TABLE by_full (id int PRIMARY KEY, v text, f float8, j jsonb); ALTER TABLE by_full REPLICA IDENTITY FULL;
         CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL, region int NOT NULL, v text);
         CREATE UNIQUE INDEX by_code ON by_index (code, region) INCLUDE (v);
         ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_code;
         CREATE TABLE index_only (code text NOT NULL, v text); CREATE UNIQUE INDEX only_code ON index_only (code);
         ALTER TABLE index_only REPLICA IDENTITY USING INDEX only_code;
         CREATE TABLE nothing (id int PRIMARY KEY, v text); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
         INSERT INTO by_full SELECT i, 'v' || i, 0.1 * i, '{}' FROM generate_series(1, 50) i;
         INSERT INTO by_index SELECT i, 'c' || i, i % 3, 'v' FROM generate_series(1, 50) i;
         INSERT INTO index_only SELECT 'c' || i, 'v' FROM generate_series(1, 50) i;
         INSERT INTO nothing SELECT i, 'v' FROM generate_series(1, 50) i;",
        "UPDATE by_full SET v = NULL WHERE id < 5; UPDATE by_full SET id = id + 100 WHERE id > 40; DELETE FROM by_full WHERE id BETWEEN 5 AND 10;
         UPDATE by_index SET id = id + 1000 WHERE id < 20; UPDATE by_index SET code = code || 'x' WHERE id < 1005;
         UPDATE by_index SET v = NULL, region = 9 WHERE id = 30; DELETE FROM by_index WHERE id = 31;
         UPDATE index_only SET v = code; UPDATE index_only SET code = 'k' || code WHERE code < 'c2'; DELETE FROM index_only WHERE code = 'c50';
         INSERT INTO nothing SELECT i, 'w' FROM generate_series(51, 100) i;
--
         INSERT INTO by_index VALUES (1, 'c1', 1, 'back'); UPDATE by_index SET id = 2000 WHERE id = 1;",
    )
    .await;
}

#[tokio::test]
async fn tables_without_a_key() {
    run(&Check {
        facts: false,
        expect: &[
            ("SELECT count(*) FROM equal", &["(3)"]),
            ("SELECT count(*) FROM odd WHERE n = 1", &["(2)"]),
        ],
        ..Check::new(
            "CREATE TABLE equal (a int, b text); INSERT INTO equal SELECT 1, 'x' FROM generate_series(1, 3);
             INSERT INTO equal VALUES (NULL, NULL), (NULL, NULL);
             CREATE TABLE odd (n int, j json, x xml, p point, f float8, b box, num numeric);
             INSERT INTO odd SELECT 1, '{\"a\":  1}', '<a/>', '(1,2)', 'NaN', '(1,2),(3,4)', 1.50 FROM generate_series(1, 3);
             INSERT INTO odd VALUES (2, NULL, NULL, '(1,2)', '-0', NULL, 'NaN'), (2, '{}', '<b>é</b>', NULL, '0', NULL, 1.5);
             CREATE TABLE made (a int, g int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO made SELECT i % 3 FROM generate_series(1, 9) i;
             CREATE TABLE parts (n int, v text) PARTITION BY LIST (n);
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
             INSERT INTO parts SELECT 1 + i % 2, 'v' FROM generate_series(1, 10) i;",
            "DELETE FROM equal WHERE ctid = (SELECT min(ctid) FROM equal WHERE a = 1);
             UPDATE equal SET b = 'y' WHERE ctid = (SELECT min(ctid) FROM equal WHERE a = 1);
             DELETE FROM equal WHERE ctid = (SELECT min(ctid) FROM equal WHERE a IS NULL);
             DELETE FROM odd WHERE ctid = (SELECT min(ctid) FROM odd WHERE n = 1);
             UPDATE odd SET n = 3, num = 1.500 WHERE f = '0';
             UPDATE odd SET j = '{\"b\": [1,  2]}', x = '<z>1</z>' WHERE ctid = (SELECT min(ctid) FROM odd WHERE n = 1);
             UPDATE made SET a = 7 WHERE ctid = (SELECT min(ctid) FROM made WHERE a = 1); DELETE FROM made WHERE ctid = (SELECT min(ctid) FROM made WHERE a = 1);
             DELETE FROM parts WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM parts WHERE n = 1 LIMIT 1);
             UPDATE parts SET n = 2 WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM parts WHERE n = 1 LIMIT 1);
             UPDATE parts SET v = 'w' WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM parts WHERE n = 2 LIMIT 1);",
        )
    })
    .await;
}

#[tokio::test]
async fn identity_and_generated_columns() {
    check(
        "CREATE TABLE always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
         CREATE TABLE by_default (id bigint GENERATED BY DEFAULT AS IDENTITY (START 100 INCREMENT 10) PRIMARY KEY, v text);
         CREATE TABLE always_beside (k text PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text);
         CREATE TABLE computed (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b text);
         INSERT INTO always (v) SELECT 'v' || i FROM generate_series(1, 50) i;
         INSERT INTO by_default (v) SELECT 'v' || i FROM generate_series(1, 50) i;
         INSERT INTO always_beside (k, v) SELECT 'k' || i, 'v' FROM generate_series(1, 50) i;
         INSERT INTO computed (id, a, b) SELECT i, i, 'b' FROM generate_series(1, 50) i;",
        "INSERT INTO always (v) SELECT 'w' || i FROM generate_series(1, 30) i; INSERT INTO always (v) VALUES ('one');
         UPDATE always SET v = 'u' WHERE id < 10; UPDATE always SET id = DEFAULT WHERE id = 20; DELETE FROM always WHERE id = 30;
         INSERT INTO always OVERRIDING SYSTEM VALUE VALUES (5000, 'given');
         INSERT INTO by_default (v) SELECT 'w' FROM generate_series(1, 30); INSERT INTO by_default VALUES (-1, 'given'); UPDATE by_default SET id = -2 WHERE id = -1;
         INSERT INTO always_beside (k, v) SELECT 'l' || i, 'v' FROM generate_series(1, 30) i;
         UPDATE always_beside SET v = 'u' WHERE k < 'k2'; UPDATE always_beside SET k = 'z' WHERE k = 'k3';
         INSERT INTO computed (id, a, b) SELECT i, i, 'c' FROM generate_series(51, 90) i; UPDATE computed SET a = a + 1 WHERE id % 2 = 0; DELETE FROM computed WHERE id = 3;
         UPDATE computed SET id = id + 100 WHERE id < 10;",
    )
    .await;
}

/// A partition's key tells its own rows apart and not those of others; and what the target takes for equal the source may not.
#[tokio::test]
async fn a_key_that_means_several_rows_of_the_target_changes_none_of_them() {
    let parted =
        "CREATE TABLE t (region text, id int NOT NULL, v text) PARTITION BY LIST (region);";
    let leaves = "CREATE TABLE t_eu PARTITION OF t (PRIMARY KEY (id)) FOR VALUES IN ('eu'); CREATE TABLE t_us PARTITION OF t (PRIMARY KEY (id)) FOR VALUES IN ('us');";
    let fill = "INSERT INTO t SELECT r, i, 'v' FROM generate_series(1, 50) i, unnest(ARRAY['eu', 'us']) r;";
    let parts = format!("{parted} {leaves} {fill}");
    let plain = "CREATE TABLE t (region text, id int NOT NULL, v text)";
    let other = format!("{parted} CREATE TABLE t_all PARTITION OF t DEFAULT");
    let one = "CREATE TABLE t (region text PRIMARY KEY, id int, v text); INSERT INTO t VALUES ('a', 1, 'v'), ('A', 2, 'v')";
    let insensitive = "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE t (region text COLLATE ci, id int, v text)";
    for (at_source, at_target, change) in [
        (&*parts, &*other, "UPDATE t SET v = 'new' WHERE region = 'eu' AND id = 1"),
        (&*parts, plain, "DELETE FROM t WHERE region = 'us' AND id = 2"),
        (&*parts, plain, "DELETE FROM t WHERE region = 'us'"),
        (&*parts, &*other, "UPDATE t SET v = 'new' WHERE region = 'eu'"),
        (one, insensitive, "UPDATE t SET v = 'new' WHERE region = 'a'"),
    ] {
        let (from, to) = databases(at_source).await;
        to.execute(at_target).await.unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.import = false;
        let error = stream.run_with(execute(&stream.source, change)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        let text = error.to_string();
        assert!(text.contains("more than one") && text.contains("0/"), "{text}");
        let changed = "SELECT count(*) FILTER (WHERE v <> 'v') FROM t";
        assert_eq!(rows(&stream.target, changed).await, ["(0)"], "{change}");
        let count = "SELECT count(*) FROM t";
        let before = if at_source == one { "(2)" } else { "(100)" };
        assert_eq!(rows(&stream.target, count).await, [before], "{change}");
    }
}
