//! Many requests at once, in bounds.
//!
//! In: encoded events in the source's order. Out: their delivery. What is held, waiting or under way, is bounded in bytes, save that one
//! event of any size is taken.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::endpoint::Endpoint;
use super::error::DeliveryError;
use super::event::{Event, Order};
use super::queue::{Outgoing, Queue};

/// Most bytes of events that wait or are under way.
const HELD_BYTES: usize = 4 << 20;
/// About the most bytes of a request of several events.
const REQUEST_BYTES: usize = 1 << 20;

type Ended = Result<(usize, Vec<Order>), DeliveryError>;

/// Events on their way to an endpoint.
pub(super) struct Delivery<'a> {
    endpoint: &'a Endpoint,
    queue: Queue,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send + 'a>>>,
    held_bytes: usize,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(endpoint: &'a Endpoint) -> Self {
        Self {
            endpoint,
            queue: Queue::default(),
            under_way: FuturesUnordered::new(),
            held_bytes: 0,
        }
    }

    /// Takes events whose places are in `bytes`, once there is room for them.
    pub(super) async fn add(
        &mut self,
        bytes: &Bytes,
        events: impl Iterator<Item = Event>,
    ) -> Result<(), DeliveryError> {
        for event in events {
            let outgoing = Outgoing { bytes: bytes.clone(), event };
            self.held_bytes += outgoing.size_bytes();
            self.queue.push(outgoing);
        }
        // A request of several is worth waiting for.
        self.start(self.endpoint.request_events());
        while let Some(Some(ended)) = self.under_way.next().now_or_never() {
            self.end(ended)?;
            self.start(self.endpoint.request_events());
        }
        while self.held_bytes > HELD_BYTES {
            self.start(1);
            match self.under_way.next().await {
                Some(ended) => self.end(ended)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Waits until all is delivered.
    pub(super) async fn finish(&mut self) -> Result<(), DeliveryError> {
        self.start(1);
        while let Some(ended) = self.under_way.next().await {
            self.end(ended)?;
            self.start(1);
        }
        Ok(())
    }

    /// Starts requests while there are `enough` events for one.
    fn start(&mut self, enough: usize) {
        let endpoint = self.endpoint;
        while self.under_way.len() < endpoint.max_in_flight() && self.queue.len() >= enough {
            let Some(events) = self.queue.take(endpoint.request_events(), REQUEST_BYTES) else {
                break;
            };
            let bytes = events.iter().map(Outgoing::size_bytes).sum();
            self.under_way.push(Box::pin(async move {
                endpoint.deliver(events).await.map(|orders| (bytes, orders))
            }));
        }
    }

    fn end(&mut self, ended: Ended) -> Result<(), DeliveryError> {
        let (bytes, orders) = ended?;
        self.held_bytes -= bytes;
        self.queue.end(&orders);
        Ok(())
    }
}
