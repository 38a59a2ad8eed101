//! Real requests, read by an SDK that others made.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stream_core::Sink as _;
use stream_sinks::cloudevent::event::Mode;

use crate::fixture::{batch, delete, insert, message, options, sink, truncate, update};
use crate::server::{OK, Request, Server};

/// Names the directory that holds the Python package `cloudevents`.
const SDK: &str = "STREAM_CLOUDEVENTS_SDK";

/// What the SDK makes of requests.
fn understood(requests: &[Request]) -> Vec<Value> {
    let sdk = std::env::var(SDK).unwrap_or_else(|_| {
        panic!("no CloudEvents SDK: run the tests by `cargo xtask test`, or set `{SDK}`")
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cloudevent/parse.py");
    let mut python = Command::new("python3")
        .arg(script)
        .env("PYTHONPATH", sdk)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    for request in requests {
        let headers: BTreeMap<_, _> =
            request.head.iter().filter_map(|line| line.split_once(": ")).collect();
        let line = json!({"headers": headers, "body": STANDARD.encode(&request.body)});
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "the SDK failed");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_independent_sdk_reads_the_same_events_in_all_modes() {
    let changes =
        vec![insert(1, "Euro € \"50 %\" 😀"), update(1, "a, b"), delete(1), message(), truncate()];
    let mut read = Vec::new();
    for mode in [Mode::Structured, Mode::Binary, Mode::Batched] {
        let server = Server::start(|_, _| OK).await;
        let mut sink = sink(options(&server.url()), mode).await;
        sink.write(&batch(changes.clone())).await.unwrap();
        let mut events = understood(&server.received());
        for event in &mut events {
            // The clock of each sink.
            for name in ["ts_ms", "ts_us", "ts_ns"] {
                event["data"][name].take();
            }
        }
        read.push(events);
    }
    let [structured, binary, batched] = read.try_into().unwrap();
    assert_eq!(structured.len(), changes.len());
    assert_eq!(structured, binary);
    assert_eq!(structured, batched);
    let first = &structured[0];
    for (name, expected) in [
        ("specversion", "1.0"),
        ("id", "default.orders:0-16B3748:0"),
        ("source", "/debezium/postgresql/default.orders"),
        ("type", "io.debezium.connector.postgresql.DataChangeEvent"),
        ("subject", "public.orders"),
        ("datacontenttype", "application/json"),
        ("partitionkey", "public.orders/1"),
        ("time", "2000-01-01T00:00:01+00:00"),
    ] {
        assert_eq!(first["attributes"][name], expected, "{name}");
    }
    assert_eq!(first["data"]["after"]["note"], "Euro € \"50 %\" 😀");
}
