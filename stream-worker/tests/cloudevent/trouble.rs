//! Bad input, and files that are not as they were left.

use std::fs;
use std::path::Path;

use stream_core::throwaway::testing::TestDatabase;

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
async fn an_endpoint_that_hangs_longer_than_the_servers_timeout_costs_no_connection() {
    let bench = Bench::new(ORDERS).await;
    let timeout = format!("ALTER DATABASE {} SET wal_sender_timeout = '1s'", bench.source.name());
    bench.source.execute(&timeout).await.unwrap();
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    receiver.lines(3);
    let walsender =
        "SELECT active_pid::int8 FROM pg_replication_slots WHERE database = current_database()";
    let before = bench.number(walsender).await;
    receiver.stall(true);
    // More than all buffers on the way hold: the log is not read any more.
    let rows =
        "INSERT INTO orders SELECT n, repeat(md5(n::text), 320) FROM generate_series(4, 4000) n";
    bench.source.execute(rows).await.unwrap();
    let since = bench.number("SELECT extract(epoch FROM now())::int8").await;
    bench.until(&format!("SELECT (extract(epoch FROM now()) > {since} + 5)::int::int8"), 1).await;
    assert_eq!(bench.number(walsender).await, before, "{}", worker.output());
    receiver.stall(false);
    receiver.until(|event| event["data"]["after"]["id"] == 4000);
    assert_eq!(bench.number(walsender).await, before, "{}", worker.output());
    assert_eq!(receiver.events().len(), 4000, "an event came twice");
    worker.stops();
}

#[tokio::test]
async fn an_idle_stream_to_an_endpoint_pins_no_log_while_others_write() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    let other = TestDatabase::create(bench.source.server()).await.unwrap();
    for round in 0..3 {
        let busy = format!(
            "CREATE TABLE busy_{round} AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)"
        );
        other.execute(&busy).await.unwrap();
        let written = bench.number("SELECT (pg_current_wal_lsn() - '0/0')::int8").await;
        let passed = format!(
            "SELECT (confirmed_flush_lsn - '0/0' >= {written})::int::int8 FROM pg_replication_slots \
             WHERE database = current_database()"
        );
        bench.until(&passed, 1).await;
    }
    receiver.lines(3);
    worker.stops();
}

#[tokio::test]
async fn of_two_workers_with_directories_of_their_own_the_slot_lets_one_read() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut first = bench.start(&[]);
    first.says("\"phase\":\"streaming\"");
    receiver.lines(3);
    // The second waits, and takes over when the first is cut off.
    let mut second = bench.start(&["--data-dir", "other"]);
    second.says("is in use by process");
    bench.source.execute("INSERT INTO orders VALUES (4)").await.unwrap();
    receiver.lines(4);
    first.signal("STOP");
    let slot = "FROM pg_replication_slots WHERE database = current_database() AND NOT temporary";
    bench.number(&format!("SELECT count(pg_terminate_backend(active_pid)) {slot}")).await;
    // It has no position: it reads the tables again, row 5 perhaps among them, and goes on from where the slot stands.
    bench.source.execute("INSERT INTO orders VALUES (5)").await.unwrap();
    let is_row = |id: i32| move |event: &serde_json::Value| event["data"]["after"]["id"] == id;
    receiver.until(is_row(5));
    let confirmed = format!("SELECT (confirmed_flush_lsn - '0/0')::int8 {slot}");
    let passed = bench.number("SELECT (pg_current_wal_lsn() - '0/0')::int8").await;
    bench.until(&format!("SELECT (({confirmed}) >= {passed})::int::int8"), 1).await;
    first.signal("CONT");
    let (code, output) = first.ends();
    assert_eq!(code, Some(3), "{output}");
    assert!(output.contains("another worker has taken over replication slot"), "{output}");
    bench.source.execute("INSERT INTO orders VALUES (6)").await.unwrap();
    receiver.until(is_row(6));
    let events = receiver.events();
    let created = events.iter().filter(|event| event["data"]["op"] == "c");
    let mut created: Vec<_> = created
        .map(|event| (event["data"]["after"]["id"].as_i64(), event["id"].as_str()))
        .collect();
    created.retain(|(row, _)| *row != Some(5));
    // The slot may not have known that row 4 was delivered: it came again then.
    created.dedup();
    let created: Vec<_> = created.into_iter().filter_map(|(row, _)| row).collect();
    assert_eq!(created, [4, 6], "both workers sent");
    second.stops();
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
        // The server takes a moment to notice that its client is gone.
        bench.until("SELECT count(active_pid) FROM pg_replication_slots WHERE database = current_database()", 0).await;
        bench.source.execute(drop).await.unwrap();
        let (code, output) = bench.start(&[]).ends();
        assert_eq!(code, Some(2), "{output}");
        assert!(output.contains("is gone"), "{output}");
        assert!(output.contains("and the next start reads the tables again"), "{output}");
    }
}

/// The slot kept what the files knew: rows that are gone, which no copy tells of.
#[tokio::test]
async fn rows_removed_while_the_stream_was_stopped_are_told_of_though_its_position_files_are_lost()
{
    for lose in [|path: &Path| fs::remove_file(path), |path: &Path| fs::write(path, "")] {
        let bench = Bench::new(ORDERS).await;
        let receiver = Receiver::start(Faults::default());
        bench.write(&receiver.url(), "", "");
        let mut worker = bench.start(&[]);
        receiver.lines(3);
        worker.says("\"phase\":\"streaming\"");
        worker.stops();
        let sql = "DELETE FROM orders WHERE id = 1; UPDATE orders SET id = 20 WHERE id = 2;
            INSERT INTO orders VALUES (5); DELETE FROM orders WHERE id = 5";
        bench.source.execute(sql).await.unwrap();
        for name in ["offsets", "offsets.backup"] {
            lose(&bench.directory.path().join("stream-data").join(name)).unwrap();
        }
        let (code, output) = bench.start(&["--complete"]).ends();
        assert_eq!(code, Some(0), "{output}");
        let lines = receiver.lines(10);
        let told = ["d orders 1", "d orders 2", "c orders 20", "c orders 5", "d orders 5"];
        assert_eq!(lines[3..8], told);
        assert_eq!(lines[8..], ["r orders 3", "r orders 20"]);
        let markers: Vec<_> = receiver.events()[8..]
            .iter()
            .map(|event| event["data"]["source"]["snapshot"].clone())
            .collect();
        assert_eq!(markers, ["first", "last"]);
        let ids: std::collections::BTreeSet<_> =
            receiver.events().iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), 10);
    }
}

/// What came after the slot was made may be told before the rows that it is of, and comes in its order.
#[tokio::test]
async fn a_slot_made_by_hand_before_the_first_start_gives_what_came_since_and_then_the_rows() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "slotName: SLOT, publicationName: SLOT");
    bench.edit(|text| text.replace("SLOT", bench.source.name()));
    let name = bench.source.name();
    for sql in [
        format!("CREATE PUBLICATION {name} FOR ALL TABLES"),
        format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"),
        "DELETE FROM orders WHERE id = 1; UPDATE orders SET note = 'new' WHERE id = 2".to_owned(),
    ] {
        bench.source.execute(&sql).await.unwrap();
    }
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    let mut lines = receiver.lines(4);
    lines[2..].sort();
    assert_eq!(lines, ["d orders 1", "u orders 2", "r orders 2", "r orders 3"]);
    worker.stops();
}

#[tokio::test]
async fn control_characters_arrive_and_bytes_that_are_no_text_stop_the_stream_at_their_row() {
    let bench = Bench::made(
        "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        r"CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (1, E'\x01\t\x1f\x7f\xe2\x80\xa8')",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    worker.says("\"phase\":\"streaming\"");
    let more = r"INSERT INTO orders VALUES (2, E'\x01\t\x1f\x7f\xe2\x80\xa8'); INSERT INTO orders VALUES (3, E'caf\xe9'); INSERT INTO orders VALUES (4, 'after')";
    for statement in more.split("; ") {
        bench.source.execute(statement).await.unwrap();
    }
    let (code, output) = worker.ends();
    assert_eq!(code, Some(1), "{output}");
    let named = "column `note` of table `public.orders`, row `public.orders/3`";
    assert!(output.contains(named) && output.contains("is not UTF-8"), "{output}");
    assert_eq!(receiver.lines(2), ["r orders 1", "c orders 2"]);
    for event in receiver.events() {
        assert_eq!(event["data"]["after"]["note"], "\u{1}\t\u{1f}\u{7f}\u{2028}");
    }
}

#[tokio::test]
async fn a_publication_that_was_altered_ends_the_worker_until_it_is_put_back() {
    let bench = Bench::new(ORDERS).await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    receiver.lines(3);
    worker.says("\"phase\":\"streaming\"");
    let alter = "DO $$ BEGIN EXECUTE (SELECT format('ALTER PUBLICATION %I SET (publish = ''insert'')', pubname) FROM pg_publication); END $$";
    bench.source.execute(alter).await.unwrap();
    bench
        .source
        .execute("DELETE FROM orders WHERE id = 1; INSERT INTO orders VALUES (5)")
        .await
        .unwrap();
    receiver.lines(4);
    worker.stops();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("was altered since its tables were copied"), "{output}");
    assert!(output.contains("`delete`, `truncate`, `update`"), "{output}");
    // The log is JSON.
    let output = output.replace('\\', "");
    let put_back = output.split('`').find(|part| part.starts_with("ALTER PUBLICATION")).unwrap();
    bench.source.execute(put_back).await.unwrap();
    let (code, output) = bench.start(&["--complete"]).ends();
    assert_eq!(code, Some(0), "{output}");
    // The table again, as it is by now.
    assert_eq!(receiver.lines(7).split_off(4), ["r orders 2", "r orders 3", "r orders 5"]);
}
