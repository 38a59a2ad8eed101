//! Tables that are not captured any more, or not as they were: what the log has of them until then.

use crate::fixture::Bench;
use crate::receiver::{Faults, Receiver};

/// Operation, table and key of each event about an existing row's end, in their order.
pub(crate) fn removed(receiver: &Receiver) -> Vec<String> {
    let events = receiver.events();
    let removed = events.iter().filter(|event| event["data"]["op"] == "d");
    let line = |event: &serde_json::Value| {
        let subject = event["subject"].as_str().unwrap_or_default();
        format!("{} {}", subject.trim_start_matches("public."), event["data"]["before"]["id"])
    };
    removed.map(line).collect()
}

/// A stream that has copied the tables of `schema`, and was stopped.
pub(crate) async fn copied(schema: &str, properties: &str) -> (Bench, Receiver) {
    let bench = Bench::new(schema).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", properties);
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    worker.stops();
    (bench, receiver)
}

/// A copy that is interrupted in `t`, whose first 200 rows came; then `sql`.
pub(crate) async fn interrupted(sql: &str, properties: &str) -> (Bench, Receiver) {
    let bench = Bench::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 3000); CREATE TABLE beside (id int PRIMARY KEY)",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    bench.edit(|text| text.replace("debeziumProperties", properties));
    let mut worker = bench.start(&[]);
    receiver.until(|event| event["data"]["after"]["id"] == 200);
    worker.kill();
    bench.source.execute(sql).await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    (bench, receiver)
}

#[tokio::test]
async fn a_table_that_is_called_as_before_is_told_of_under_that_name() {
    let sql = "DELETE FROM t WHERE id = 1; ALTER TABLE t RENAME TO x; DELETE FROM x WHERE id = 2; ALTER TABLE x RENAME TO t; DELETE FROM t WHERE id = 3";
    let (_bench, receiver) = interrupted(sql, "debeziumProperties").await;
    assert_eq!(removed(&receiver), ["t 1", "t 2", "t 3"]);
}

/// With a copy that was complete, too, where another is taken for another reason.
#[tokio::test]
async fn a_table_that_is_copied_again_is_told_of_under_the_name_that_it_has() {
    let (bench, receiver) = copied(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT generate_series(1, 9), 1",
        "",
    )
    .await;
    let sql = "ALTER TABLE t RENAME TO x; DELETE FROM x WHERE id = 2; ALTER TABLE x RENAME TO t; ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v int";
    bench.source.execute(sql).await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(removed(&receiver), ["t 2"], "{output}");
}

/// What it had under the captured name is told, and nothing of what came after.
#[tokio::test]
async fn a_table_that_is_called_what_nobody_captures_is_told_of_up_to_there() {
    let sql = "DELETE FROM t WHERE id = 1;
        ALTER TABLE t RENAME TO x; DELETE FROM x WHERE id = 2";
    let (_bench, receiver) =
        interrupted(sql, "includes: ['public\\.(t|beside)'], debeziumProperties").await;
    assert_eq!(removed(&receiver), ["t 1"]);
}

#[tokio::test]
async fn nothing_is_told_of_a_table_that_is_excluded() {
    let (bench, receiver) = copied("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE TABLE beside (id int PRIMARY KEY)", "").await;
    bench.edit(|text| {
        text.replace("debeziumProperties", "excludes: ['public\\.t'], debeziumProperties")
    });
    bench
        .source
        .execute(
            "INSERT INTO t VALUES (3); DELETE FROM t WHERE id = 1; INSERT INTO beside VALUES (1)",
        )
        .await
        .unwrap();
    let worker = bench.start(&[]);
    assert_eq!(receiver.lines(3)[2..], ["c beside 1"]);
    worker.stops();
    bench.edit(|text| text.replace("excludes: ['public\\.t'], ", ""));
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    let mut lines = receiver.lines(5);
    lines[3..].sort();
    assert_eq!(lines[3..], ["r t 2", "r t 3"], "{output}");
    assert!(output.contains("an endpoint is not told of rows that were removed then"), "{output}");
}

/// Its changes were its own before it was attached.
#[tokio::test]
async fn what_becomes_of_rows_before_their_table_is_attached_arrives() {
    let (bench, receiver) = copied("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
         CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); INSERT INTO p VALUES (11), (12)", "publishViaPartitionRoot: true").await;
    let sql = "DELETE FROM t WHERE id = 1; ALTER TABLE p ATTACH PARTITION t FOR VALUES FROM (0) TO (10); DELETE FROM p WHERE id = 11";
    bench.source.execute(sql).await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(removed(&receiver), ["t 1", "p 11"], "{output}");
}

/// A worker that is killed while it tells what became of rows whose copy was interrupted, and a table that has another name by the next.
#[tokio::test]
async fn what_comes_again_after_another_name_says_the_same() {
    let (bench, receiver) = interrupted_at(
        "ALTER TABLE t RENAME TO u; DELETE FROM u WHERE id < 1000; ALTER TABLE u RENAME TO v",
    )
    .await;
    let mut worker = bench.start(&[]);
    receiver.until(|event| event["data"]["op"] == "d");
    worker.kill();
    bench.source.execute("ALTER TABLE v RENAME TO t").await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    let mut known = std::collections::BTreeMap::new();
    let events = receiver.events();
    for event in &events {
        let id = event["id"].as_str().unwrap_or_default();
        let key = &event["partitionkey"];
        let before = known.insert(id, key).unwrap_or(key);
        assert_eq!(before, key, "{id}");
    }
    let of_row = |key: &str| {
        events.iter().any(|event| event["data"]["op"] == "d" && event["partitionkey"] == key)
    };
    assert!(of_row("public.u/1") && of_row("public.t/1"), "{output}");
}

async fn interrupted_at(sql: &str) -> (Bench, Receiver) {
    let bench = Bench::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 3000); CREATE TABLE beside (id int PRIMARY KEY)",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    receiver.until(|event| event["data"]["after"]["id"] == 200);
    worker.kill();
    bench.source.execute(sql).await.unwrap();
    (bench, receiver)
}
