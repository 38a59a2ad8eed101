//! The worker killed again and again while rows change and the endpoint fails: each change arrives, in the order of its row, and
//! what comes again has the id that it had.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use stream_core::postgres::SqlClient;
use tokio::task::JoinSet;

use crate::fixture::Bench;
use crate::receiver::{Faults, Receiver};

const WRITERS: i64 = 3;
const ROWS: i64 = 40;
const KILLS: u32 = 8;

/// Each row counts its versions; the row's history is then 0, 1, 2, …
async fn write(url: String, writer: i64, stop: tokio::sync::watch::Receiver<bool>) {
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    let mut random = fastrand::Rng::with_seed(writer.cast_unsigned());
    while !*stop.borrow() {
        let id = writer * ROWS + random.i64(..ROWS);
        let sql = format!(
            "UPDATE public.counters SET version = version + 1 WHERE id = {id};
             INSERT INTO public.log (writer) VALUES ({writer})"
        );
        client.batch_execute(&sql).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    client.close().await;
}

#[tokio::test]
async fn every_change_arrives_in_the_order_of_its_row_and_repeats_have_the_same_id() {
    let rows = WRITERS * ROWS;
    let sql = format!(
        "CREATE TABLE counters (id int PRIMARY KEY, version int);
         INSERT INTO counters SELECT n, 0 FROM generate_series(0, {rows} - 1) n;
         CREATE TABLE log (id bigserial PRIMARY KEY, writer int)"
    );
    let bench = Bench::new(&sql).await;
    let receiver = Receiver::start(Faults { unavailable: 10, reset: 1, ..Faults::default() });
    bench.write(&receiver.url(), ", maxInFlight: 16", "");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(bench.source.url(), writer, stopped.clone()));
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..KILLS {
        let before = receiver.events().len();
        let mut worker = bench.start(&[]);
        let start = Instant::now();
        while receiver.events().len() < before + 150 {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", worker.output());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..200))).await;
        worker.kill();
    }
    stop.send_replace(true);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    check(&bench, &receiver.events()).await;
}

async fn check(bench: &Bench, events: &[Value]) {
    // What an event says, but for the clock and for what the encoder knows of earlier events.
    let said = |event: &Value| {
        let data = &event["data"];
        (data["op"].clone(), data["after"].clone(), data["source"]["lsn"].clone())
    };
    let mut known = HashMap::new();
    let mut versions: HashMap<i64, i64> = HashMap::new();
    let (mut logged, mut repeats) = (std::collections::BTreeSet::new(), 0);
    for event in events {
        let is_read = event["data"]["op"] == "r";
        let id = event["id"].as_str().unwrap().to_owned();
        if let Some(before) = known.get(&id) {
            repeats += 1;
            // A row that is read again has the same id where it is the same; its snapshot is another.
            let (op, after, lsn) = said(event);
            let same = &(op, after, if is_read { Value::Null } else { lsn });
            assert_eq!(before, same, "{id}");
            continue;
        }
        let (op, after, lsn) = said(event);
        known.insert(id, (op, after.clone(), if is_read { Value::Null } else { lsn }));
        let row = after["id"].as_i64().unwrap();
        if event["subject"] == "public.log" {
            logged.insert(row);
            continue;
        }
        let version = after["version"].as_i64().unwrap();
        match versions.insert(row, version) {
            None => assert!(is_read, "row {row} changed before it was read"),
            Some(before) if is_read => assert!(version >= before, "row {row} was read too early"),
            Some(before) => assert_eq!(version, before + 1, "row {row}"),
        }
    }
    assert!(repeats > 0, "nothing came again: the kills hit nothing");
    let sum = "SELECT sum(version)::bigint FROM public.counters";
    assert_eq!(versions.values().sum::<i64>(), bench.number(sum).await);
    assert_eq!(logged.len() as i64, bench.number("SELECT count(*) FROM public.log").await);
}
