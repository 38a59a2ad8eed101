//! Memory, and one row that is larger than everything else together.

use crate::fixture::Bench;
use crate::receiver::{Faults, Receiver};

/// A row has 100 MiB. It is received and encoded, and buffers grow by doubling.
const MOST_MIB: u64 = 400;

#[tokio::test]
async fn a_row_of_100_mib_arrives_from_snapshot_and_stream_in_a_few_times_its_memory() {
    let bench = Bench::new(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);
         INSERT INTO orders VALUES (1, repeat('x', 100 << 20))",
    )
    .await;
    let receiver = Receiver::start(Faults::default());
    bench.write(&receiver.url(), "", "");
    let mut worker = bench.start(&[]);
    assert_eq!(receiver.lines(1), ["r orders 1"]);
    worker.says("\"phase\":\"streaming\"");
    let copied_mib = worker.peak_mib();
    bench.source.execute("INSERT INTO orders VALUES (2, repeat('y', 100 << 20))").await.unwrap();
    assert_eq!(receiver.lines(2), ["r orders 1", "c orders 2"]);
    let notes = receiver.events();
    assert!(
        notes
            .iter()
            .all(|event| event["data"]["after"]["note"].as_str().unwrap().len() == 100 << 20)
    );
    let streamed_mib = worker.peak_mib();
    assert!(
        copied_mib < MOST_MIB && streamed_mib < MOST_MIB,
        "{copied_mib} and {streamed_mib} MiB"
    );
    worker.stops();
}
