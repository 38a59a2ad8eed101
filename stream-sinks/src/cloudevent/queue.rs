//! Which events may be sent now. Pure.
//!
//! In: events in the source's order, and what has ended. Out: requests of events, none of which overtakes another that it must
//! not: of the same row, of the same table where a whole table is concerned, of anything for a message.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::event::{Event, Order};

/// How many events that have to wait are passed over in search of one that has not.
const LOOK_AHEAD: usize = 512;

/// An event that is ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// What the event's places refer to.
    pub(super) bytes: Bytes,
    pub(super) event: Event,
}

impl Outgoing {
    pub(super) fn size_bytes(&self) -> usize {
        self.event.body.len()
    }

    pub(super) fn body(&self) -> Bytes {
        self.bytes.slice(self.event.body.clone())
    }
}

/// Events that wait, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Outgoing>,
    under_way: Claims,
}

impl Queue {
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.waiting.push_back(outgoing);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next request: at most `most` events of about `most_bytes`, but one at least. `None` when none may be sent now.
    pub(super) fn take(&mut self, most: usize, most_bytes: usize) -> Option<Vec<Outgoing>> {
        let mut passed = Claims::default();
        let mut taken = Vec::new();
        let mut bytes = 0;
        let mut at = 0;
        while taken.len() < most && passed.total < LOOK_AHEAD && passed.messages == 0 {
            let Some(next) = self.waiting.get(at) else { break };
            let (order, size) = (next.event.order, next.size_bytes());
            if self.under_way.hold(order) || passed.hold(order) {
                passed.add(order);
                at += 1;
                continue;
            }
            if !taken.is_empty() && bytes + size > most_bytes {
                break;
            }
            bytes += size;
            taken.extend(self.waiting.remove(at));
        }
        for outgoing in &taken {
            self.under_way.add(outgoing.event.order);
        }
        (!taken.is_empty()).then_some(taken)
    }

    /// Events of a request have been delivered.
    pub(super) fn end(&mut self, orders: &[Order]) {
        for order in orders {
            self.under_way.remove(*order);
        }
    }
}

/// What events hold back.
#[derive(Debug, Default)]
struct Claims {
    rows: HashMap<u64, usize>,
    tables: HashMap<u64, OfTable>,
    messages: usize,
    total: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfTable {
    /// Events of the whole table.
    whole: usize,
    /// These, and those of single rows.
    all: usize,
}

impl Claims {
    /// Whether an event has to wait for any of these.
    fn hold(&self, order: Order) -> bool {
        let of_table = |table| self.tables.get(&table).copied().unwrap_or_default();
        match order {
            Order::Message(_) => self.total > 0,
            Order::Table(_) | Order::Row(..) if self.messages > 0 => true,
            Order::Table(table) => of_table(table).all > 0,
            Order::Row(table, key, other) => {
                of_table(table).whole > 0
                    || rows(key, other).any(|row| self.rows.contains_key(&row))
            }
        }
    }

    fn add(&mut self, order: Order) {
        self.total += 1;
        match order {
            Order::Message(_) => self.messages += 1,
            Order::Table(table) => {
                let of_table = self.tables.entry(table).or_default();
                of_table.whole += 1;
                of_table.all += 1;
            }
            Order::Row(table, key, other) => {
                self.tables.entry(table).or_default().all += 1;
                for row in rows(key, other) {
                    *self.rows.entry(row).or_default() += 1;
                }
            }
        }
    }

    fn remove(&mut self, order: Order) {
        self.total = self.total.saturating_sub(1);
        let (table, rows) = match order {
            Order::Message(_) => {
                self.messages = self.messages.saturating_sub(1);
                return;
            }
            Order::Table(table) => (table, None),
            Order::Row(table, key, other) => (table, Some(rows(key, other))),
        };
        if let Some(of_table) = self.tables.get_mut(&table) {
            of_table.all = of_table.all.saturating_sub(1);
            if rows.is_none() {
                of_table.whole = of_table.whole.saturating_sub(1);
            }
            if of_table.all == 0 {
                self.tables.remove(&table);
            }
        }
        for row in rows.into_iter().flatten() {
            if let Some(count) = self.rows.get_mut(&row) {
                *count -= 1;
                if *count == 0 {
                    self.rows.remove(&row);
                }
            }
        }
    }
}

/// What an event of a row claims. The two kinds of numbers may meet: then a row waits for another, and no more.
fn rows(key: u64, other: Option<u64>) -> impl Iterator<Item = u64> {
    std::iter::once(key).chain(other)
}

#[cfg(test)]
mod tests {
    use stream_core::lsn::Lsn;

    use super::*;

    /// `a1` a row of table a, `a12` one that another key tells apart too, `a=1` one whose key other tables may have too, `a*` all of it, `!` a
    /// message. The event's number is its position.
    fn order(text: &str) -> Order {
        match text.as_bytes() {
            [b'!', ..] => Order::Message(7),
            [table, b'*'] => Order::Table((*table).into()),
            [table, b'=', key] => Order::Row((*table).into(), (*key).into(), None),
            [table, row] => Order::Row((*table).into(), of_table(*table, *row), None),
            [table, row, other] => {
                let other = Some(of_table(*table, *other));
                Order::Row((*table).into(), of_table(*table, *row), other)
            }
            _ => panic!("{text}"),
        }
    }

    fn of_table(table: u8, row: u8) -> u64 {
        u64::from(table) << 8 | u64::from(row)
    }

    fn queue(events: &str) -> Queue {
        let mut queue = Queue::default();
        for (number, text) in events.split_whitespace().enumerate() {
            let event = Event {
                body: 0..10,
                headers: Vec::new(),
                content_type: "application/json",
                id: 0..0,
                key: 0..0,
                order: order(text),
                relation: None,
                lsn: Lsn::new(number as u64),
            };
            queue.push(Outgoing { bytes: Bytes::from_static(b"0123456789"), event });
        }
        queue
    }

    fn numbers(taken: &[Outgoing]) -> Vec<u64> {
        taken.iter().map(|outgoing| outgoing.event.lsn.get()).collect()
    }

    fn take(queue: &mut Queue, most: usize) -> Option<Vec<u64>> {
        queue.take(most, 1000).map(|taken| numbers(&taken))
    }

    #[test]
    fn a_row_waits_for_itself_and_for_nothing_else() {
        let mut queue = queue("a1 a1 a2 a1 b1");
        for expected in [Some(vec![0]), Some(vec![2]), Some(vec![4]), None] {
            assert_eq!(take(&mut queue, 1), expected);
        }
        queue.end(&[order("a1")]);
        assert_eq!(take(&mut queue, 1), Some(vec![1]));
        assert_eq!(take(&mut queue, 1), None);
        queue.end(&[order("a1")]);
        assert_eq!(take(&mut queue, 1), Some(vec![3]));
    }

    #[test]
    fn a_row_with_two_keys_waits_for_either() {
        let mut queue = queue("a1x a2x a1y a3z");
        for expected in [Some(vec![0]), Some(vec![3]), None] {
            assert_eq!(take(&mut queue, 1), expected);
        }
        queue.end(&[order("a1x")]);
        assert_eq!(take(&mut queue, 2), Some(vec![1, 2]));
        queue.end(&[order("a2x"), order("a1y"), order("a3z")]);
        assert!(queue.under_way.rows.is_empty() && queue.under_way.tables.is_empty());
    }

    #[test]
    fn a_key_that_several_tables_have_waits_for_itself_and_for_each_of_them() {
        let mut queue = queue("a=1 b=1 b=2 a* b=1");
        for expected in [Some(vec![0]), Some(vec![2]), None] {
            assert_eq!(take(&mut queue, 1), expected);
        }
        queue.end(&[order("a=1")]);
        assert_eq!(take(&mut queue, 2), Some(vec![1, 3]));
        assert_eq!(take(&mut queue, 1), None);
        queue.end(&[order("b=1"), order("b=2"), order("a*")]);
        assert_eq!(take(&mut queue, 1), Some(vec![4]));
        queue.end(&[order("b=1")]);
        assert!(queue.under_way.rows.is_empty() && queue.under_way.tables.is_empty());
    }

    #[test]
    fn a_table_waits_for_its_rows_and_they_for_it() {
        let mut queue = queue("a1 a2 a* a3 b1");
        for expected in [Some(vec![0]), Some(vec![1]), Some(vec![4]), None] {
            assert_eq!(take(&mut queue, 1), expected);
        }
        queue.end(&[order("a1")]);
        assert_eq!(take(&mut queue, 1), None);
        queue.end(&[order("a2")]);
        assert_eq!(take(&mut queue, 1), Some(vec![2]));
        assert_eq!(take(&mut queue, 1), None);
        queue.end(&[order("a*")]);
        assert_eq!(take(&mut queue, 1), Some(vec![3]));
    }

    #[test]
    fn a_message_waits_for_everything_and_everything_for_it() {
        let mut queue = queue("a1 !x b1");
        assert_eq!(take(&mut queue, 1), Some(vec![0]));
        assert_eq!(take(&mut queue, 1), None);
        queue.end(&[order("a1")]);
        assert_eq!(take(&mut queue, 1), Some(vec![1]));
        assert_eq!(take(&mut queue, 1), None);
        queue.end(&[order("!x")]);
        assert_eq!(take(&mut queue, 1), Some(vec![2]));
    }

    #[test]
    fn a_request_of_several_keeps_their_order_and_its_bounds() {
        let mut queue = queue("a1 a1 a* !x a1 b1 b2");
        assert_eq!(take(&mut queue, 4), Some(vec![0, 1, 2, 3]));
        assert_eq!(take(&mut queue, 4), None);
        queue.end(&[order("a1"), order("a1"), order("a*"), order("!x")]);
        // Ten bytes each: two fit, and one that is too large goes alone.
        assert_eq!(numbers(&queue.take(4, 20).unwrap()), [4, 5]);
        assert_eq!(numbers(&queue.take(4, 5).unwrap()), [6]);
    }

    #[test]
    fn no_event_overtakes_another_that_it_must_not() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let names = ["a1", "a2", "a3", "a*", "b1", "b2", "b*", "!x"];
            let weights = [5, 5, 5, 1, 5, 5, 1, 1];
            let events: Vec<_> = (0..60)
                .map(|_| {
                    loop {
                        let at = random.usize(..names.len());
                        if random.u32(..5) < weights[at] {
                            break names[at];
                        }
                    }
                })
                .collect();
            let named = |number: u64| events[usize::try_from(number).unwrap()];
            let mut queue = queue(&events.join(" "));
            let (mut under_way, mut ended) = (Vec::<Vec<u64>>::new(), Vec::<u64>::new());
            while ended.len() < events.len() {
                let taken = (under_way.len() < 4).then(|| take(&mut queue, random.usize(1..4)));
                if let Some(taken) = taken.flatten() {
                    for number in &taken {
                        let this = named(*number);
                        for earlier in (0..*number).filter(|earlier| !ended.contains(earlier)) {
                            let other = named(earlier);
                            let first = |text: &str| text.as_bytes()[0];
                            let conflict = this == other
                                || this == "!x"
                                || other == "!x"
                                || first(this) == first(other)
                                    && (this.ends_with('*') || other.ends_with('*'));
                            let together = taken.contains(&earlier);
                            assert!(!conflict || together, "{number} overtakes {earlier}: {seed}");
                        }
                    }
                    assert!(taken.is_sorted(), "{taken:?}");
                    under_way.push(taken);
                } else {
                    assert!(!under_way.is_empty(), "nothing moves: {seed}");
                    let done = under_way.swap_remove(random.usize(..under_way.len()));
                    let orders: Vec<_> = done.iter().map(|n| order(named(*n))).collect();
                    queue.end(&orders);
                    ended.extend(done);
                }
            }
        }
    }
}
