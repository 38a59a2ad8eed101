//! Streams that do what they are to do.

use std::path::Path;

use stream_core::postgres::SqlClient;

use crate::fixture::{Bench, Worker, directory};
use crate::receiver::{Faults, Receiver};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text);
    INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 3) n";

#[tokio::test]
async fn the_example_runs_with_only_its_url_changed() {
    let receiver = Receiver::start(Faults::default());
    let directory = directory();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    for name in ["events-stream.yaml", "source-cluster.yaml", "orders.sql"] {
        let text = std::fs::read_to_string(examples.join(name)).unwrap();
        let text = text.replace("http://127.0.0.1:8080/", &receiver.url());
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let files = ["-f", "events-stream.yaml", "source-cluster.yaml"];
    let init = ["--init", "source-cluster=orders.sql"];
    let variables = [("TOKEN", "s3cret")];
    let mut worker = Worker::start(directory.path(), &[&files[..], &init[..]].concat(), &variables);
    let mut read = receiver.lines(5);
    read.sort();
    assert_eq!(
        read,
        ["r order_items", "r order_items", "r order_items", "r orders 1", "r orders 2"]
    );
    worker.says("\"phase\":\"streaming\"");
    let output = worker.output();
    let url = output.lines().find_map(|line| line.strip_prefix("source-cluster: ")).unwrap();
    let url = url.split(' ').next().unwrap();
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    for statement in [
        "INSERT INTO public.orders (customer, total) VALUES ('Linus', 1)",
        "UPDATE public.orders SET total = 5 WHERE id = 3",
        "UPDATE public.orders SET id = DEFAULT WHERE id = 3",
        "DELETE FROM public.orders WHERE id = 4",
        "TRUNCATE public.orders CASCADE",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let lines = receiver.lines(12);
    assert_eq!(
        lines[5..10],
        ["c orders 3", "u orders 3", "d orders 3", "c orders 4", "d orders 4"]
    );
    let mut truncates = lines[10..].to_vec();
    truncates.sort();
    assert_eq!(truncates, ["t order_items", "t orders"]);
    let output = worker.stops();
    assert!(!output.contains("s3cret"), "{output}");
}

#[tokio::test]
async fn deletes_messages_heartbeats_and_transaction_markers_stop_nothing() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    let properties = "heartbeatIntervalMs: 100, provideTransactionMetadata: true";
    bench.write(&receiver.url(), "", properties);
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    let sql = "DELETE FROM public.orders WHERE id = 1; SELECT pg_logical_emit_message(true, 'note', 'in');
        SELECT pg_logical_emit_message(false, 'note', 'out'); INSERT INTO orders VALUES (4)";
    bench.source.execute(sql).await.unwrap();
    let lines = receiver.lines(7);
    assert_eq!(lines[..3], ["r orders 1", "r orders 2", "r orders 3"]);
    // The message outside of the transaction does not wait for its end.
    let mut rest = lines[3..].to_vec();
    rest.sort();
    assert_eq!(rest, ["c orders 4", "d orders 1", "m note", "m note"]);
    let events = receiver.events();
    let markers: Vec<_> =
        events[..3].iter().map(|event| &event["data"]["source"]["snapshot"]).collect();
    assert_eq!(markers, ["first", "true", "last"]);
    worker.stops();
}

#[tokio::test]
async fn a_stream_goes_on_after_a_stop_and_reads_nothing_again() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    for round in 0..3 {
        let mut worker = bench.start(&[]);
        let sql = format!("INSERT INTO orders VALUES ({})", 10 + round);
        bench.source.execute(&sql).await.unwrap();
        // One that is written while the snapshot is not yet taken is read.
        let lines = receiver.lines(4 + round);
        assert!(lines.last().unwrap().ends_with(&format!("orders {}", 10 + round)), "{lines:?}");
        worker.says("\"phase\":\"streaming\"");
        worker.stops();
    }
}

#[tokio::test]
async fn with_no_data_the_rows_of_a_table_that_comes_later_arrive_and_no_others() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "snapshotMode: no_data");
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    worker.stops();
    let sql = "CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)";
    bench.source.execute(sql).await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(receiver.lines(1), ["r later 1"]);
    assert_eq!(receiver.events().len(), 1);
}

/// With a key and without: the first rows of the snapshot, then a partition's row that moves.
#[tokio::test]
async fn partitions_come_under_their_roots_name_from_snapshot_and_stream_where_that_is_asked_for() {
    for key in ["PRIMARY KEY", ""] {
        let bench = Bench::new(&format!(
            "CREATE TABLE p (id int {key}, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
             CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1, 'a'), (11, 'b')"
        ))
        .await;
        let receiver = Receiver::start(Faults::default());
        bench.write(&receiver.url(), "", "publishViaPartitionRoot: true");
        let mut worker = bench.start(&[]);
        worker.says("\"phase\":\"streaming\"");
        let sql = "UPDATE p SET v = 'c' WHERE id = 1; UPDATE p SET id = 12 WHERE id = 1; DELETE FROM p WHERE id = 11";
        bench.source.execute(sql).await.unwrap();
        let lines = receiver.lines(6);
        assert_eq!(lines, ["r p 1", "r p 11", "u p 1", "d p 1", "c p 12", "d p 11"], "{key}");
        // Whole rows are logged of a table without a key, which is only known at its root.
        let before = &receiver.events()[2]["data"]["before"];
        assert_eq!(before.is_null(), !key.is_empty(), "{before}");
        worker.stops();
    }
}

/// A row that was removed while nobody looked is in no later copy: only the log tells of it, before that copy.
#[tokio::test]
async fn what_becomes_of_rows_between_an_interrupted_copy_and_the_next_arrives_before_it() {
    what_becomes_of_rows_arrives_when(|_| ()).await;
}

/// Of the position only the slot knows; of the copy the backup, or nobody.
#[tokio::test]
async fn what_becomes_of_rows_arrives_when_position_files_were_damaged_during_the_copy() {
    what_becomes_of_rows_arrives_when(|data| std::fs::write(data.join("offsets"), "x").unwrap())
        .await;
    what_becomes_of_rows_arrives_when(|data| {
        for name in ["offsets", "offsets.backup"] {
            std::fs::write(data.join(name), "x").unwrap();
        }
    })
    .await;
}

async fn what_becomes_of_rows_arrives_when(lose: impl Fn(&Path)) {
    let bench = Bench::new(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 3000) i",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    receiver.until(|event| event["data"]["after"]["id"] == 200);
    worker.kill();
    lose(&bench.directory.path().join("stream-data"));
    let sql = "DELETE FROM t WHERE id <= 10; UPDATE t SET id = -11 WHERE id = 11; UPDATE t SET v = 1 WHERE id = 12;
        INSERT INTO t VALUES (5, 1); DELETE FROM t WHERE id = 13; INSERT INTO t VALUES (13, 2); DELETE FROM t WHERE id = 13";
    bench.source.execute(sql).await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    let mut last = std::collections::BTreeMap::new();
    let mut highest = std::collections::BTreeMap::new();
    for event in receiver.events() {
        let data = &event["data"];
        let row = if data["after"].is_null() { &data["before"] } else { &data["after"] };
        let id = row["id"].as_i64().unwrap();
        let lsn = data["source"]["lsn"].as_i64().unwrap();
        let before = highest.insert(id, lsn).unwrap_or_default();
        assert!(before <= lsn, "{id}: {before} comes before {lsn}");
        last.insert(id, data["after"]["v"].as_i64());
    }
    let there: std::collections::BTreeMap<i64, Option<i64>> =
        last.into_iter().filter(|(_, v)| v.is_some()).collect();
    let sums = (there.len() as i64, there.values().flatten().sum::<i64>());
    assert_eq!(sums, (2990, 2));
    assert!(there.contains_key(&-11) && there.contains_key(&5) && !there.contains_key(&13));
    assert_eq!(bench.slots().await, 0);
}

/// Where whole rows are logged, the log does not say what their key is.
#[tokio::test]
async fn a_key_that_is_replaced_is_that_of_events_after_the_next_look() {
    let bench = Bench::new(
        "CREATE TABLE t (id int PRIMARY KEY, other int NOT NULL); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 10)",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    let sql = "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (other)";
    bench.source.execute(sql).await.unwrap();
    worker.says("the stream starts again");
    bench.source.execute("UPDATE t SET id = 2").await.unwrap();
    assert_eq!(receiver.lines(2), ["r t 1", "u t 2"]);
    assert_eq!(receiver.events()[1]["partitionkey"], "public.t/10");
    worker.stops();
}

/// The log tells of them under the name of that time, and then the rows come under the present one.
#[tokio::test]
async fn what_becomes_of_rows_before_their_table_is_renamed_or_made_anew_arrives() {
    let bench = Bench::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1)",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    worker.stops();
    let sql =
        "INSERT INTO a VALUES (3); DELETE FROM a WHERE id IN (2, 3); ALTER TABLE a RENAME TO c;
        DELETE FROM b; DROP TABLE b; CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (2)";
    bench.source.execute(sql).await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    let mut lines = receiver.lines(9);
    lines[7..].sort();
    assert_eq!(lines[3..], ["c a 3", "d a 2", "d a 3", "d b 1", "r b 2", "r c 1"], "{output}");
}

/// Under each of its names the copy was interrupted.
#[tokio::test]
async fn what_becomes_of_rows_arrives_when_their_table_is_renamed_between_copies() {
    let bench = Bench::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 3000)",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    for (name, next) in [("t", "u"), ("u", "v")] {
        let mut worker = bench.start(&[]);
        receiver.until(|event| {
            event["subject"] == format!("public.{name}") && event["data"]["after"]["id"] == 200
        });
        worker.kill();
        let sql = format!(
            "DELETE FROM {name} WHERE id = (SELECT min(id) FROM {name}); ALTER TABLE {name} RENAME TO {next};
             DELETE FROM {next} WHERE id = (SELECT min(id) FROM {next})"
        );
        bench.source.execute(&sql).await.unwrap();
    }
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    let events = receiver.events();
    let removed = events.iter().filter(|event| event["data"]["op"] == "d");
    let removed: Vec<_> = removed
        .map(|event| format!("{} {}", event["subject"], event["data"]["before"]["id"]))
        .collect();
    assert_eq!(
        removed,
        [r#""public.t" 1"#, r#""public.u" 2"#, r#""public.u" 3"#, r#""public.v" 4"#],
        "{output}"
    );
    let copied =
        events.iter().filter(|event| event["subject"] == "public.v" && event["data"]["op"] == "r");
    assert_eq!(copied.count(), 2996);
}

#[tokio::test]
async fn initial_only_and_complete_end_well_and_leave_no_slot() {
    for (properties, more) in [("snapshotMode: initial_only", &[][..]), ("", &["--complete"])] {
        let bench = Bench::new(ORDERS).await;
        let receiver = Receiver::start(Faults::default());
        bench.write(&receiver.url(), ", mode: batched, maxInFlight: 4", properties);
        for _ in 0..2 {
            let (code, output) = bench.start(more).ends();
            assert_eq!(code, Some(0), "{output}");
            assert_eq!(receiver.lines(3), ["r orders 1", "r orders 2", "r orders 3"]);
            assert_eq!(bench.slots().await, 0);
        }
    }
}

#[tokio::test]
async fn initial_only_makes_nothing_at_the_source_and_leaves_tables_without_a_key_as_they_are() {
    let bench = Bench::new(
        "CREATE TABLE log (id int); INSERT INTO log VALUES (1), (2);
         CREATE TABLE large (id int PRIMARY KEY); INSERT INTO large SELECT generate_series(7, 2000)",
    )
    .await;
    let receiver = Receiver::start(Faults { refuses: Some("public.large"), ..Faults::default() });
    let properties = "snapshotMode: initial_only, snapshotMaxThreads: 1";
    bench.write(&receiver.url(), ", retryLimit: 0", properties);
    let (code, output) = bench.start(&[]).ends();
    assert_eq!(code, Some(1), "{output}");
    assert_eq!(receiver.lines(2), ["r log 1", "r log 2"]);
    let made = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_class WHERE relreplident = 'f')";
    assert_eq!((bench.slots().await, bench.number(made).await), (0, 0), "{output}");
    // Whoever writes to the table is not kept from it.
    bench.source.execute("UPDATE log SET id = 3 WHERE id = 2").await.unwrap();
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", properties);
    let (code, output) = bench.start(&[]).ends();
    assert_eq!(code, Some(0), "{output}");
    // What was read whole is not read again.
    let lines = receiver.lines(1994);
    assert!(lines.iter().all(|line| line.starts_with("r large ")), "{output}");
    assert_eq!((bench.slots().await, bench.number(made).await), (0, 0), "{output}");
    assert!(
        !output.contains("replica identity") && !output.contains("building indexes"),
        "{output}"
    );
}

#[tokio::test]
async fn rows_without_key_and_place_have_ids_of_their_own_that_come_again_wherever_they_are_stored()
{
    let bench = Bench::new(
        "CREATE TABLE log (note text, hidden int);
         INSERT INTO log SELECT 'same', n FROM generate_series(1, 200) n;
         INSERT INTO log SELECT 'row ' || n, n FROM generate_series(1, 100) n",
    )
    .await;
    // Rights on single columns do not reach `ctid`.
    let role = format!("reader_{}", bench.source.name());
    let sql = format!(
        "CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'p'; GRANT SELECT (note) ON log TO {role}"
    );
    bench.source.execute(&sql).await.unwrap();
    let url = bench.source.url();
    let (_, rest) = url.split_once("://").unwrap();
    let address = rest.split_once('@').map_or(rest, |(_, address)| address);
    let url = format!("postgres://{role}:p@{address}");
    let mut runs = Vec::new();
    for (reset, expected) in [(1000, 1), (0, 0)] {
        let receiver = Receiver::start(Faults { reset, ..Faults::default() });
        let http = ", mode: batched, batchSize: 1000, retryLimit: 0";
        bench.write(&receiver.url(), http, "snapshotMode: initial_only");
        bench.edit(|text| {
            text.replace("debeziumProperties", "excludes: [public.log.hidden], debeziumProperties")
        });
        let (code, output) = bench.start_as(&url, &[]).ends();
        assert_eq!(code, Some(expected), "{output}");
        let ids = receiver.events().iter().map(|event| event["id"].to_string()).collect::<Vec<_>>();
        let all = ids.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids.len(), all.len());
        runs.push(all);
        let shuffle = "UPDATE log SET hidden = -hidden WHERE hidden % 3 = 0; VACUUM FULL log";
        for statement in shuffle.split("; ") {
            bench.source.execute(statement).await.unwrap();
        }
    }
    assert_eq!(runs.iter().map(|ids| ids.len()).collect::<Vec<_>>(), [299, 300]);
    assert!(runs[0].is_subset(&runs[1]));
    bench.source.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn rows_have_ids_of_their_own_that_come_again_after_a_failure_and_not_in_another_snapshot() {
    for table in
        ["log (note text)", "log (note text, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"]
    {
        let rows = "INSERT INTO log SELECT 'same' FROM generate_series(1, 200)";
        let bench = Bench::new(&format!("CREATE TABLE {table}; {rows}")).await;
        let ids = |receiver: &Receiver| {
            let events = receiver.events();
            let ids = events.iter().map(|event| event["id"].as_str().unwrap().to_owned());
            ids.collect::<std::collections::BTreeSet<_>>()
        };
        let mut runs = Vec::new();
        for (reset, expected) in [(1000, 1), (0, 0), (0, 0)] {
            let receiver = Receiver::start(Faults { reset, ..Faults::default() });
            let http = ", mode: batched, batchSize: 500, retryLimit: 0";
            bench.write(&receiver.url(), http, "snapshotMode: initial_only");
            let (code, output) = bench.start(&[]).ends();
            assert_eq!(code, Some(expected), "{output}");
            runs.push(ids(&receiver));
            if code == Some(0) {
                std::fs::remove_dir_all(bench.directory.path().join("stream-data")).unwrap();
            }
        }
        // The last row is sent when all others were taken.
        assert_eq!(runs.iter().map(|ids| ids.len()).collect::<Vec<_>>(), [199, 200, 200]);
        assert!(runs[0].is_subset(&runs[1]), "they were taken, and no answer came");
        // A row may have been another between two snapshots: who knew its id would take it for what it was before that.
        assert!(runs[1].is_disjoint(&runs[2]));
    }
}
