//! One row that is larger than everything else together.

use crate::fixture::{batch, insert, options, sink};
use crate::server::{OK, Reply, Server};
use stream_core::Sink as _;
use stream_sinks::cloudevent::event::Mode;

const BYTES: usize = 100 << 20;

#[tokio::test]
async fn a_row_of_100_mib_is_delivered_in_every_mode() {
    for mode in [Mode::Structured, Mode::Binary, Mode::Batched] {
        let server = Server::start(|_, _| OK).await;
        let mut sink = sink(options(&server.url()), mode).await;
        let rows = vec![insert(1, "x"), insert(2, &"x".repeat(BYTES)), insert(3, "x")];
        sink.write(&batch(rows)).await.unwrap();
        let received = server.received();
        assert!(received.iter().any(|request| request.body.len() > BYTES), "{mode:?}");
        if mode != Mode::Batched {
            assert_eq!(received.len(), 3, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn a_row_of_100_mib_that_is_refused_is_told_with_table_key_size_and_remedy() {
    let server = Server::start(|_, request| match request.body.len() > BYTES {
        true => Reply::Answer(413, "", "at most 1 MB"),
        false => OK,
    })
    .await;
    for mode in [Mode::Structured, Mode::Batched] {
        let mut sink = sink(options(&server.url()), mode).await;
        let rows = vec![insert(1, "x"), insert(2, &"x".repeat(BYTES)), insert(3, "x")];
        let told = sink.write(&batch(rows)).await.unwrap_err().to_string();
        for part in [
            "table `public.orders`",
            "key `public.orders/2`",
            "(10485",
            " bytes) was refused",
            "status 413",
            "at most 1 MB",
            "raise its limit, or leave the table or column out",
        ] {
            assert!(told.contains(part), "no `{part}`: {told}");
        }
        assert!(told.len() < 1000, "{told}");
    }
}
