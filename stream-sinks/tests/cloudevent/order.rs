//! Many requests at once, and the order that they keep.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stream_core::Sink as _;
use stream_core::change::{Change, OldTuple};
use stream_core::relation::{Relation, RelationId, TableName};
use stream_sinks::cloudevent::encoder::EventOptions;
use stream_sinks::cloudevent::event::Mode;
use stream_sinks::envelope::rules::MessageKeys;
use stream_sinks::transform::Transforms;

use crate::fixture::{
    batch, delete, in_flight, insert, message, options, relation, row, sink, sink_of, truncate,
    update,
};
use crate::server::{OK, Reply, Request, Server};

/// Operation, and the row's id or 0, of each event in a request.
fn events(request: &Request) -> Vec<(String, u64, String)> {
    let json = request.json();
    let list = match json {
        serde_json::Value::Array(list) => list,
        one => vec![one],
    };
    let one = |event: &serde_json::Value| {
        let data = &event["data"];
        let row = if data["after"].is_null() { &data["before"] } else { &data["after"] };
        let op = data["op"].as_str().unwrap().to_owned();
        (op, row["id"].as_u64().unwrap_or(0), event["id"].as_str().unwrap().to_owned())
    };
    list.iter().map(one).collect()
}

/// Changes of few rows, with truncates and messages between them.
fn changes(random: &mut fastrand::Rng, number: usize) -> Vec<Change> {
    let change = |_| match random.u32(..100) {
        0 => truncate(),
        1 => message(),
        n => match (n % 3, random.u64(1..20)) {
            (0, id) => insert(id, "new"),
            (1, id) => update(id, "changed"),
            (_, id) => delete(id),
        },
    };
    (0..number).map(change).collect()
}

/// Checks that what came, each event at its first coming, is all of `number` events, and that no row's event overtook another.
fn check(arrived: &[(String, u64, String)], number: usize) {
    let ordinal = |id: &str| -> usize {
        // The stream, the commit, the ordinal, and perhaps a name.
        id.split(':').nth(2).unwrap().parse().unwrap()
    };
    let mut seen = HashSet::new();
    let mut last: HashMap<u64, usize> = HashMap::new();
    let (mut last_of_all, mut barrier) = (0, 0);
    for (op, row, id) in arrived {
        let at = ordinal(id);
        if !seen.insert(at) {
            continue;
        }
        if op == "t" || op == "m" {
            assert!(at >= last_of_all, "{op} {at} came after {last_of_all}");
            assert_eq!(seen.len(), at + 1, "{op} {at} overtook something");
            barrier = at;
        }
        assert!(at >= barrier, "{at} was overtaken by {barrier}");
        if *row != 0 {
            let before = last.insert(*row, at).unwrap_or_default();
            assert!(at >= before, "row {row}: {at} came after {before}");
        }
        last_of_all = last_of_all.max(at);
    }
    assert_eq!(seen.len(), number);
}

#[tokio::test]
async fn rows_keep_their_order_whatever_happens_to_requests() {
    for (seed, mode) in [(1, Mode::Structured), (2, Mode::Structured), (3, Mode::Batched)] {
        let server = Server::start(move |number, _| {
            let mut random = fastrand::Rng::with_seed(seed * 1_000_000 + number as u64);
            let delay = Duration::from_micros(random.u64(..3_000));
            match random.u32(..100) {
                0..5 => Reply::Answer(503, "", ""),
                5..8 => Reply::Reset,
                8..10 => Reply::Answer(429, "", ""),
                10..40 => Reply::Answer(204, "", ""),
                _ => Reply::Late(delay, 200),
            }
        })
        .await;
        let mut options = options(&server.url());
        options.max_in_flight = in_flight(16);
        options.batch_size = in_flight(5);
        let mut sink = sink(options, mode).await;
        let mut random = fastrand::Rng::with_seed(seed);
        sink.write(&batch(changes(&mut random, 1_000))).await.unwrap();
        let taken = server.received().into_iter().filter(|request| request.taken);
        let arrived: Vec<_> = taken.flat_map(|request| events(&request)).collect();
        check(&arrived, 1_000);
    }
}

#[tokio::test]
async fn with_one_request_at_a_time_everything_keeps_its_order() {
    let server = Server::start(|number, _| match number % 7 {
        3 => Reply::Reset,
        _ => Reply::Answer(204, "", ""),
    })
    .await;
    let mut sink = sink(options(&server.url()), Mode::Structured).await;
    sink.write(&batch((1..=50).map(|id| insert(id, "x")).collect())).await.unwrap();
    let mut rows: Vec<_> = server.received().iter().map(|request| events(request)[0].1).collect();
    rows.dedup();
    assert_eq!(rows, (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn there_are_as_many_requests_at_once_as_may_be_and_no_more() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = Server::start({
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |number, _| {
            // The first eight are kept until all of them are there.
            let open = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(open, Ordering::SeqCst);
            if number < 8 { Reply::Hang } else { Reply::Answer(204, "", "") }
        }
    })
    .await;
    let mut options = options(&server.url());
    options.max_in_flight = in_flight(8);
    let mut sink = sink(options, Mode::Structured).await;
    let whole = batch((1..=50).map(|id| insert(id, "x")).collect());
    {
        let mut writing = std::pin::pin!(sink.write(&whole));
        while server.received().len() < 8 {
            let waited = tokio::time::timeout(Duration::from_millis(5), &mut writing).await;
            assert!(waited.is_err(), "eight requests hang");
        }
        let waited = tokio::time::timeout(Duration::from_millis(100), &mut writing).await;
        assert!(waited.is_err(), "eight requests hang");
    }
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_row_whose_chosen_key_changes_keeps_its_order() {
    let moved = || {
        let (old, new) = (Some(OldTuple::Key(row(1, ""))), row(2, "b"));
        Change::Update { relation: relation(), old, new }
    };
    for changes in [
        vec![update(1, "a"), update(1, "b")],
        vec![update(1, "a"), update(2, "a")],
        // Neither the old key nor the new one is that of the event before.
        vec![update(1, "a"), moved()],
    ] {
        let refused =
            |number, _: &Request| if number == 0 { Reply::Answer(503, "", "") } else { OK };
        let server = Server::start(refused).await;
        let mut options = options(&server.url());
        options.max_in_flight = in_flight(8);
        let keys = MessageKeys::new(&["public.orders:note"]).unwrap();
        let mut sink = sink_of(EventOptions { keys, ..EventOptions::default() }, options).await;
        sink.write(&batch(changes)).await.unwrap();
        let received = server.received();
        let taken: Vec<_> = received.iter().filter(|request| request.taken).collect();
        let ids: Vec<_> = taken.iter().map(|request| request.id()).collect();
        assert!(ids.len() == 2 && ids.is_sorted(), "{ids:?}");
    }
}

/// Its key is what the rows say, in whichever of several outboxes, or partitions of one, they are.
#[tokio::test]
async fn events_that_several_outboxes_have_of_one_aggregate_keep_their_order() {
    let routed = ["table.field.event.key", "table.field.event.type", "table.field.event.payload"];
    let router = routed.iter().chain(&["route.by.field"]).map(|name| (*name, "note"));
    let router = router.chain([("type", "io.debezium.transforms.outbox.EventRouter")]);
    let router = router.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let transforms = Transforms::new(&[("outbox".to_owned(), router)], &BTreeMap::new()).unwrap();
    let refused = |number, _: &Request| if number == 0 { Reply::Answer(503, "", "") } else { OK };
    let server = Server::start(refused).await;
    let mut options = options(&server.url());
    options.max_in_flight = in_flight(8);
    let mut sink = sink_of(EventOptions { transforms, ..EventOptions::default() }, options).await;
    let name = TableName::new("public", "orders_2");
    let other = Arc::new(Relation { id: RelationId(8), name, ..(*relation()).clone() });
    let second = Change::Insert { relation: other, new: row(2, "aggregate") };
    sink.write(&batch(vec![insert(1, "aggregate"), second])).await.unwrap();
    let received = server.received();
    let ids: Vec<_> = received.iter().filter(|request| request.taken).map(Request::id).collect();
    assert_eq!(ids, ["1", "2"]);
}
