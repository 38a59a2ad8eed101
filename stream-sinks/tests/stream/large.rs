//! What is larger than a batch.

use crate::fixture::{Check, run};

#[tokio::test]
async fn a_transaction_of_200_000_rows_that_changes_its_own_rows() {
    run(&Check {
        once: true,
        expect: &[("SELECT count(*) FROM t", &["(199600)"])],
        ..Check::new(
            "CREATE TABLE t (id int PRIMARY KEY, v text, w text); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t SELECT i, 'old', 'w' FROM generate_series(1, 1000) i;",
            "BEGIN; INSERT INTO t SELECT i, 'new', repeat('x', 50) FROM generate_series(1001, 200000) i; UPDATE t SET v = 'changed' WHERE id % 10 = 0; UPDATE t SET id = id + 1000000 WHERE id % 1000 = 0;
             DELETE FROM t WHERE id % 500 = 0 AND id < 1000000 OR id % 1000 = 0 AND id > 1000000; SAVEPOINT s; INSERT INTO u SELECT generate_series(1, 50000); ROLLBACK TO s; INSERT INTO u SELECT generate_series(1, 5); COMMIT;
--
             UPDATE t SET w = 'after' WHERE id < 100;",
        )
    })
    .await;
}

#[tokio::test]
async fn rows_of_30_megabytes() {
    run(&Check {
        once: true,
        ..Check::new(
            "CREATE TABLE t (id int PRIMARY KEY, n int, v text, b bytea); ALTER TABLE t ALTER v SET STORAGE EXTERNAL; ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
             CREATE TABLE f (id int PRIMARY KEY, n int, v text); ALTER TABLE f REPLICA IDENTITY FULL; INSERT INTO f VALUES (1, 1, repeat('f', 30000000));
             INSERT INTO t SELECT i, i, repeat('a', 30000000), NULL FROM generate_series(1, 2) i;",
            "INSERT INTO t VALUES (3, 3, repeat('b', 30000000), convert_to(repeat('c', 10000000), 'UTF8')); UPDATE t SET n = 10 WHERE id = 3; UPDATE t SET v = repeat('d', 30000001) WHERE id = 1; UPDATE t SET id = 4 WHERE id = 2;
             UPDATE f SET n = 2; UPDATE f SET v = repeat('g', 30000000);",
        )
    })
    .await;
}
