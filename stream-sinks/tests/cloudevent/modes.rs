//! The three forms of requests, and headers of the user's own.

use std::num::NonZeroUsize;

use bytes::Bytes;
use stream_core::Sink as _;
use stream_core::change::{Change, Tuple};
use stream_sinks::cloudevent::event::Mode;

use crate::fixture::{batch, deliver, insert, options, relation, sink};
use crate::server::{OK, Reply, Server};

#[tokio::test]
async fn a_structured_request_is_one_event() {
    let server = Server::start(|_, _| OK).await;
    deliver(options(&server.url())).await.unwrap();
    let [request] = server.received().try_into().unwrap();
    assert_eq!(request.head[0], "POST /events HTTP/1.1");
    let content_type = request.header("content-type");
    assert_eq!(content_type, Some("application/cloudevents+json; charset=utf-8"));
    let event = request.json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["data"]["after"]["note"], "Ada Lovelace, Countess");
}

#[tokio::test]
async fn a_binary_request_has_attributes_as_headers_and_data_as_body() {
    let server = Server::start(|_, _| OK).await;
    let mut sink = sink(options(&server.url()), Mode::Binary).await;
    sink.write(&batch(vec![insert(1, "x"), insert(2, "y")])).await.unwrap();
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[1].header("content-type"), Some("application/json"));
    assert_eq!(received[1].header("ce-id"), Some("default.orders:0-16B3748:1"));
    assert_eq!(received[1].header("ce-specversion"), Some("1.0"));
    assert_eq!(received[1].header("ce-partitionkey"), Some("public.orders/2"));
    assert_eq!(received[1].json()["after"]["id"], 2);
}

#[tokio::test]
async fn batches_have_their_size_and_keep_the_order() {
    let server = Server::start(|_, _| OK).await;
    let mut options = options(&server.url());
    options.batch_size = NonZeroUsize::new(4).unwrap();
    let mut sink = sink(options, Mode::Batched).await;
    sink.write(&batch((0..10).map(|id| insert(id, "x")).collect())).await.unwrap();
    let received = server.received();
    let of = |request: &crate::server::Request| -> Vec<u64> {
        let events = request.json();
        let events = events.as_array().unwrap().iter();
        events.map(|event| event["data"]["after"]["id"].as_u64().unwrap()).collect()
    };
    let ids: Vec<_> = received.iter().map(of).collect();
    assert_eq!(ids, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    let content_type = received[0].header("content-type");
    assert_eq!(content_type, Some("application/cloudevents-batch+json; charset=utf-8"));
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_divided_and_only_an_event_that_is_too_large_stops() {
    let server = Server::start(|_, request| match request.body.len() {
        0..2_500 => OK,
        _ => Reply::Answer(413, "", "too much"),
    })
    .await;
    let mut sink = sink(options(&server.url()), Mode::Batched).await;
    let changes = (0..7).map(|id| insert(id, "x")).collect();
    sink.write(&batch(changes)).await.unwrap();
    let delivered = server.received().into_iter().filter(|request| request.body.len() < 2_500);
    let ids: Vec<_> = delivered
        .flat_map(|request| request.json().as_array().unwrap().clone())
        .map(|event| event["data"]["after"]["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6]);

    let changes = vec![insert(1, "x"), insert(2, &"long ".repeat(1_000))];
    let told = sink.write(&batch(changes)).await.unwrap_err().to_string();
    assert!(told.contains("key `public.orders/2`") && told.contains("413"), "{told}");
    assert!(told.contains("bytes)"), "{told}");
}

#[tokio::test]
async fn headers_of_the_user_are_sent_and_host_replaces_that_of_the_url() {
    let server = Server::start(|_, _| OK).await;
    let mut options = options(&server.url());
    let value_of = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
    options.headers.add("Authorization", "Bearer ${TOKEN}", value_of).unwrap();
    options.headers.add("Host", "orders.demo", value_of).unwrap();
    deliver(options).await.unwrap();
    let [request] = server.received().try_into().unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
    let hosts = request.head.iter().filter(|line| line.starts_with("host: "));
    assert_eq!(hosts.collect::<Vec<_>>(), ["host: orders.demo"]);
}

#[tokio::test]
async fn a_secret_that_comes_back_is_not_told() {
    let server = Server::start(|_, _| Reply::Answer(400, "", "bad token s3cret!")).await;
    let mut options = options(&server.url());
    options.headers.add("Authorization", "Bearer s3cret!", |_| None).unwrap();
    let told = deliver(options).await.unwrap_err().to_string();
    assert!(told.contains("bad token …") && !told.contains("s3cret"), "{told}");
}

#[tokio::test]
async fn a_row_of_a_hundred_megabytes_is_delivered_whole() {
    let server = Server::start(|_, _| OK).await;
    let mut sink = sink(options(&server.url()), Mode::Structured).await;
    let note = "0123456789".repeat(10 << 20);
    sink.write(&batch(vec![insert(1, &note), insert(2, "small")])).await.unwrap();
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert!(received[0].body.len() > 100 << 20);
    assert_eq!(received[0].json()["data"]["after"]["note"], note);
}

#[tokio::test]
async fn what_stands_before_an_event_that_cannot_be_written_is_delivered() {
    for mode in [Mode::Structured, Mode::Binary, Mode::Batched] {
        let server = Server::start(|_, _| OK).await;
        let mut sink = sink(options(&server.url()), mode).await;
        let bytes = Bytes::from_static(b"t\0\0\0\x012t\0\0\0\x01\xff");
        let bad = Change::Insert { relation: relation(), new: Tuple::new(bytes, 2).unwrap() };
        let error = sink.write(&batch(vec![insert(1, "a"), bad])).await.unwrap_err().to_string();
        assert!(error.contains("public.orders/2"), "{mode:?}: {error}");
        assert_eq!(server.received().len(), 1, "{mode:?}");
    }
}
