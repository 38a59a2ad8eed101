//! Bad input, and files that are not as they were left.

use std::fs;

use crate::fixture::Bench;
use crate::receiver::{Faults, Receiver};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text);
    INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 3) n";

const OTHER: &str =
    "---\napiVersion: v1\nkind: Secret\nmetadata: {name: other}\nstringData: {EMPTY_KEY: ''}\n";

#[tokio::test]
async fn what_no_endpoint_can_be_called_with_is_told_before_anything_is_made() {
    let bench = Bench::new(ORDERS).await;
    let secret = format!("Secret `default/{}-headers`", bench.name());
    for (url, http, parts) in [
        (
            "http://h/",
            ", headers: {Authorization: 'Bearer ${NO_SUCH_TOKEN}'}",
            &["http.headers.Authorization", "`${NO_SUCH_TOKEN}`", secret.as_str()][..],
        ),
        (
            "http://h/",
            ", headers: {Authorization: 'Bearer ${EMPTY_TOKEN}'}",
            &[
                "http.headers.Authorization",
                "`${EMPTY_TOKEN}`",
                secret.as_str(),
                "environment variable `EMPTY_TOKEN`",
            ],
        ),
        (
            "http://h/",
            ", headers: {Authorization: '${EMPTY_KEY}'}, headersSecret: other",
            &["http.headers.Authorization", "put key `EMPTY_KEY` into Secret `default/other`"],
        ),
        (
            "http://h/",
            ", caSecret: {name: other, key: EMPTY_KEY}",
            &["http.caSecret", "key `EMPTY_KEY` of Secret `default/other` is empty"],
        ),
        (
            "http://h/",
            ", headers: {X-Note: \"a\\nb: c\"}",
            &["http.headers.X-Note", "a line end or another character"],
        ),
        ("http://h/", ", headers: {Ce-Id: x}", &["http.headers.Ce-Id", "remove it"]),
        (
            "http://h/",
            ", caSecret: {name: none, key: ca}",
            &["http.caSecret", "Secret `default/none`"],
        ),
        ("ftp://h/", "", &["http.url", "http"]),
        ("h/events", "", &["http.url", "http"]),
        ("http://user:s3cret@h/", "", &["http.url", "set header `Authorization`"]),
    ] {
        bench.write(url, http, "");
        bench.edit(|text| text + OTHER);
        let mut worker = bench.start(&[]);
        let (code, output) = worker.ends();
        assert_eq!(code, Some(2), "{url} {http}: {output}");
        for part in parts {
            assert!(output.contains(part), "no `{part}`: {output}");
        }
        fs::remove_file(bench.directory.path().join("log")).unwrap();
    }
    assert_eq!(bench.slots().await, 0);
}

#[tokio::test]
async fn an_event_that_is_refused_ends_the_stream_and_is_delivered_once_the_endpoint_takes_it() {
    let bench = Bench::new(ORDERS).await;
    let refusing = Receiver::start(Faults { unavailable: 1000, ..Faults::default() });
    bench.write(&refusing.url(), ", retryLimit: 1", "");
    let (code, output) = bench.start(&[]).ends();
    assert_eq!(code, Some(1), "{output}");
    for part in ["`public.orders`", "key `public.orders/1`", "in 2 attempts", "status 503"] {
        assert!(output.contains(part), "no `{part}`: {output}");
    }
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), ", retryLimit: 1", "");
    let mut worker = bench.start(&[]);
    assert_eq!(receiver.lines(3), ["r orders 1", "r orders 2", "r orders 3"]);
    worker.says("\"phase\":\"streaming\"");
    worker.stops();
}

#[tokio::test]
async fn a_token_that_is_renewed_in_its_secret_is_used_without_a_new_start() {
    let bench = Bench::new(ORDERS).await;
    let receiver =
        Receiver::start(Faults { wants: Some("bearer renewed-token"), ..Faults::default() });
    bench.write(&receiver.url(), ", headers: {Authorization: 'Bearer ${TOKEN}'}", "");
    let name = bench.name();
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-headers}}\nstringData: {{TOKEN: expired-token}}\n"
    );
    bench.edit(|text| text + &secret);
    let mut worker = bench.start(&[]);
    worker.says("they were read again, and are the same");
    bench.edit(|text| text.replace("expired-token", "renewed-token"));
    assert_eq!(receiver.lines(3), ["r orders 1", "r orders 2", "r orders 3"]);
    let output = worker.stops();
    assert!(!output.contains("expired-token") && !output.contains("renewed-token"), "{output}");
}

#[tokio::test]
async fn a_field_that_a_transform_does_not_find_is_said_with_the_remedy() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "snapshotMode: initial_only");
    bench.edit(|text| {
        let mask = "{type: 'org.apache.kafka.connect.transforms.MaskField$Value', fields: note}";
        text.replace(
            "  pods:",
            &format!("  debeziumEngineProperties: {{transforms: {{hide: {mask}}}}}\n  pods:"),
        )
    });
    let (code, output) = bench.start(&[]).ends();
    assert_eq!(code, Some(0), "{output}");
    for part in
        ["`transforms.hide` names field `note`", "ExtractNewRecordState`; put that before it"]
    {
        assert!(output.contains(part), "no `{part}`: {output}");
    }
}

#[tokio::test]
async fn a_data_directory_is_for_one_process_and_one_stream() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    let (code, output) = bench.start(&[]).ends();
    assert_eq!(code, Some(3), "{output}");
    assert!(output.contains("is used by another process"), "{output}");
    worker.stops();

    let yaml = bench.directory.path().join("stream.yaml");
    let text = fs::read_to_string(&yaml).unwrap();
    fs::write(&yaml, text.replace(&format!("name: {}}}", bench.name()), "name: other}")).unwrap();
    let (code, output) = bench.start(&[]).ends();
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains(&format!("the position of stream `default.{}`", bench.name())));
}

#[tokio::test]
async fn a_damaged_position_file_falls_back_to_the_slot_and_loses_nothing() {
    for damage in [&b""[..], &[0; 400], b"stream offsets 99\nx\n{}\n", b"half of a lin"] {
        let bench = Bench::new(ORDERS).await;
        let receiver = Receiver::start(Faults::default());
        bench.write(&receiver.url(), "", "");
        let mut worker = bench.start(&[]);
        receiver.lines(3);
        worker.says("\"phase\":\"streaming\"");
        bench.source.execute("INSERT INTO orders VALUES (4)").await.unwrap();
        receiver.lines(4);
        worker.stops();
        fs::write(bench.directory.path().join("stream-data/offsets"), damage).unwrap();
        bench.source.execute("INSERT INTO orders VALUES (5)").await.unwrap();
        let mut worker = bench.start(&[]);
        let start = std::time::Instant::now();
        // Row 4 may come again, and nothing else.
        while !receiver.events().iter().any(|event| event["data"]["after"]["id"] == 5) {
            assert!(start.elapsed().as_secs() < 60, "{}", worker.output());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        worker.says("goes on at its slot's position");
        let events = receiver.events();
        let reads = events.iter().filter(|event| event["data"]["op"] == "r").count();
        assert_eq!(reads, 3, "tables are not read again");
        worker.stops();

        // Position and slot both lost: nobody knows what is missing.
        fs::write(bench.directory.path().join("stream-data/offsets"), damage).unwrap();
        // The server may not yet have noticed that the worker is gone.
        let drop = "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots
            WHERE database = current_database();
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
            WHERE database = current_database()";
        bench.source.execute(drop).await.unwrap();
        let (code, output) = bench.start(&[]).ends();
        assert_eq!(code, Some(2), "{output}");
        assert!(output.contains("is gone"), "{output}");
        assert!(output.contains("and the next start reads the tables again"), "{output}");
    }
}
