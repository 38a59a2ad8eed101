//! Tables that had the name of others for a while, and partitions that were captured under the pattern for their root.

use crate::left::{copied, interrupted, removed};
use crate::receiver::Receiver;

const ALL_TABLES: &str = "publicationAutocreateMode: all_tables";

fn of(receiver: &Receiver, id: i64) -> Vec<String> {
    let events = receiver.events();
    let is_it =
        |data: &serde_json::Value| ["before", "after"].iter().any(|image| data[image]["id"] == id);
    let line = |event: &serde_json::Value| format!("{} {}", event["data"]["op"], event["subject"]);
    events.iter().filter(|event| is_it(&event["data"])).map(line).collect()
}

/// One that came and went has no row in the copy, and none of it was known.
#[tokio::test]
async fn nothing_is_told_of_a_table_that_had_the_name_of_one_that_is_copied_again() {
    let (bench, receiver) = copied(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT generate_series(1, 9), 1",
        ALL_TABLES,
    )
    .await;
    let sql = "ALTER TABLE t RENAME TO x; CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (77, 1); DROP TABLE t;
        ALTER TABLE x RENAME TO t; ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v int";
    for statement in sql.split("; ") {
        bench.source.execute(statement).await.unwrap();
    }
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(of(&receiver, 77), [""; 0], "{output}");
}

/// Under its earlier name, which nobody captures, it is another table than the one that has the name.
#[tokio::test]
async fn nothing_is_told_of_what_a_table_had_before_it_took_the_name_of_another() {
    let (bench, receiver) = copied(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9); CREATE TABLE beside (id int PRIMARY KEY)",
        ALL_TABLES,
    )
    .await;
    bench.edit(|text| {
        text.replace("debeziumProperties", "includes: ['public\\.(t|beside)'], debeziumProperties")
    });
    let sql = "CREATE TABLE t_new (id int PRIMARY KEY); INSERT INTO t_new VALUES (9), (50), (51); DELETE FROM t_new WHERE id IN (9, 50); UPDATE t SET id = id;
        ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t";
    for statement in sql.split("; ") {
        bench.source.execute(statement).await.unwrap();
    }
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(removed(&receiver), [""; 0], "{output}");
    assert_eq!(of(&receiver, 50), [""; 0], "{output}");
}

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

/// Its copy was interrupted under yet another name.
#[tokio::test]
async fn a_row_that_is_told_of_under_the_present_name_is_removed_under_it() {
    let sql = "ALTER TABLE t RENAME TO u;\n INSERT INTO u VALUES (-100);\n ALTER TABLE u RENAME TO x;\n DELETE FROM x WHERE id = -100;\n ALTER TABLE x RENAME TO u";
    let (_bench, receiver) = interrupted(sql, "debeziumProperties").await;
    let told = of(&receiver, -100);
    assert_eq!(told, [r#""c" "public.u""#, r#""d" "public.u""#]);
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

/// What is told of a row that a partition got before `sql`, where `rules` speak of the root alone and came after the copy.
async fn told_of_a_partition(rules: &str, sql: &[&str]) -> serde_json::Value {
    let (bench, receiver) = copied(
        "CREATE TABLE p (id int PRIMARY KEY, secret text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1, 'hidden'), (11, 'hidden')",
        "",
    )
    .await;
    bench.edit(|text| text.replace("debeziumProperties: {", rules));
    for statement in ["INSERT INTO p VALUES (2, 'hidden')"].iter().chain(sql) {
        bench.source.execute(statement).await.unwrap();
    }
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    let events = receiver.events();
    let told = events.iter().find(|event| event["data"]["after"]["id"] == 2);
    told.map(|event| event["data"]["after"].clone()).unwrap_or_default()
}

const EXCLUDED: &str = r"excludes: ['public\.p\.secret'], debeziumProperties: {";
const MASKED: &str = r"debeziumProperties: {columnMaskWithLengthChars: ['3:public\.p\.secret'], ";

/// By a pattern for the root.
#[tokio::test]
async fn a_column_stays_excluded_of_a_partition_that_is_dropped() {
    let told = told_of_a_partition(EXCLUDED, &["DROP TABLE p1"]).await;
    assert_eq!(told, serde_json::json!({"id": 2}));
}

#[tokio::test]
async fn a_column_stays_masked_of_a_partition_that_is_dropped() {
    let told = told_of_a_partition(MASKED, &["DROP TABLE p1"]).await;
    assert_eq!(told, serde_json::json!({"id": 2, "secret": "***"}));
}

/// Nothing of the source tells what it was part of, and by its columns it is none of what is there.
#[tokio::test]
async fn rules_hold_for_a_partition_whose_root_is_gone_or_altered() {
    let told =
        told_of_a_partition(MASKED, &["DROP TABLE p", "CREATE TABLE beside (id int PRIMARY KEY)"])
            .await;
    assert_eq!(told, serde_json::json!({"id": 2, "secret": "***"}));
    let told =
        told_of_a_partition(EXCLUDED, &["DROP TABLE p1", "ALTER TABLE p DROP COLUMN secret"]).await;
    assert_eq!(told, serde_json::json!({"id": 2}));
}

/// It is still there, and captured by no name of its own.
#[tokio::test]
async fn a_column_stays_excluded_of_a_partition_that_is_detached() {
    let rules = EXCLUDED.replace("excludes", r"includes: ['public\.p'], excludes");
    let told = told_of_a_partition(&rules, &["ALTER TABLE p DETACH PARTITION p1"]).await;
    assert_eq!(told, serde_json::json!({"id": 2}));
}

/// What it had then comes with a copy.
#[tokio::test]
async fn a_column_that_had_an_excluded_name_for_a_while_is_told_under_its_own() {
    for lives in [false, true] {
        let (bench, receiver) = copied(
            "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT i, 'v', 'w' FROM generate_series(1, 3) i",
            "",
        )
        .await;
        bench.edit(|text| {
            text.replace(
                "debeziumProperties",
                "excludes: ['public\\.t\\.secret'], debeziumProperties",
            )
        });
        let mut worker = lives.then(|| bench.start(&[]));
        if let Some(worker) = &mut worker {
            worker.says("\"phase\":\"streaming\"");
        }
        let sql = "ALTER TABLE t RENAME v TO secret; UPDATE t SET secret = 'away' WHERE id = 2; INSERT INTO t VALUES (10, 'away', 'w'); ALTER TABLE t RENAME secret TO v";
        for statement in sql.split("; ") {
            bench.source.execute(statement).await.unwrap();
        }
        if let Some(worker) = worker {
            receiver.until(|event| {
                event["data"]["after"]["id"] == 10 && event["data"]["after"]["v"] == "away"
            });
            worker.stops();
        }
        let (code, output) = bench.start(&["--complete"]).ends();
        assert_eq!(code, Some(0), "{output}");
        let events = receiver.events();
        assert!(!serde_json::to_string(&events).unwrap().contains("secret"), "{events:?}");
        for id in [2, 10] {
            let last = events.iter().rfind(|event| event["data"]["after"]["id"] == id).unwrap();
            assert_eq!(last["data"]["after"]["v"], "away", "{events:?}");
        }
    }
}
