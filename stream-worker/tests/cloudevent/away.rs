//! Partitions that were captured under the pattern for their root.

use crate::left::{copied, removed};
use crate::receiver::Receiver;

/// It was captured under the pattern for its root.
#[tokio::test]
async fn what_becomes_of_rows_of_a_partition_before_it_is_dropped_arrives() {
    let (bench, receiver) = copied(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1), (2), (11)",
        "",
    )
    .await;
    bench.edit(|text| {
        text.replace("debeziumProperties", "includes: ['public\\.p'], debeziumProperties")
    });
    let sql = "DELETE FROM p WHERE id = 1;\n ALTER TABLE p DETACH PARTITION p1";
    for statement in sql.split("; ") {
        bench.source.execute(statement).await.unwrap();
    }
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(removed(&receiver), ["p1 1"], "{output}");
}

/// By its own name nobody captures it, and what it has as a partition is told under its root's.
#[tokio::test]
async fn nothing_is_told_of_a_partition_that_is_detached_for_a_while_and_not_captured_by_its_name()
{
    let (bench, receiver) = copied(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1), (2)",
        "publishViaPartitionRoot: true, publicationAutocreateMode: all_tables",
    )
    .await;
    bench.edit(|text| {
        text.replace("debeziumProperties", "includes: ['public\\.p'], debeziumProperties")
    });
    let sql = "ALTER TABLE p DETACH PARTITION p1; INSERT INTO p1 VALUES (3); DELETE FROM p1 WHERE id < 3; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10)";
    for statement in sql.split("; ") {
        bench.source.execute(statement).await.unwrap();
    }
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(receiver.lines(3)[2..], ["r p 3"], "{output}");
}
