//! Scripts for the loop from source to sink: paused time, and a ledger that knows what may be confirmed.
#![cfg(test)]

use std::future::Future;
use std::time::Duration;

use stream_core::batch::Batch;
use stream_core::checkpoint::{Checkpoint, Completion, TableSync};
use stream_core::columns::ColumnNumbers;
use stream_core::lsn::Lsn;
use stream_core::pipeline::{Control, Outcome, Pipeline};
use stream_core::sink::Sink;
use stream_core::stats::Stats;
use stream_core::table::TableOrigin;
use stream_core::testing::faults::{Fault, Gate};
use stream_core::testing::ledger::{Call, Ledger};
use stream_core::testing::observed::Observed;
use stream_core::testing::script::{START, Script};
use stream_core::testing::sink::RecordingSink;
use stream_core::testing::source::ScriptedSource;
use stream_core::testing::store::SharedStore;
use stream_core::{Error, ErrorKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// Longer than any script; a run that takes it hangs.
const HANGS: Duration = Duration::from_secs(30 * 3600);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Watched = Pipeline<Observed<ScriptedSource>, Observed<RecordingSink>, Observed<SharedStore>>;

/// One script with all that outlives a run of it.
struct Scene {
    ledger: Ledger,
    source: ScriptedSource,
    sink: RecordingSink,
    store: SharedStore,
    stats: Stats,
    batch_bytes: usize,
}

impl Scene {
    fn new(script: Script) -> Self {
        let ledger = Ledger::default();
        ledger.expect(&script);
        Self {
            ledger,
            source: ScriptedSource::new(script),
            sink: RecordingSink::default(),
            store: SharedStore::default(),
            stats: Stats::default(),
            batch_bytes: 2_000,
        }
    }

    fn pipeline(&self) -> Watched {
        let mut pipeline = Pipeline::new(
            self.ledger.observe(self.source.clone()),
            self.ledger.observe(self.sink.clone()),
            self.ledger.observe(self.store.clone()),
        );
        pipeline.batch_bytes = self.batch_bytes;
        pipeline.stats = self.stats.clone();
        pipeline
    }

    /// Runs, and tells the pipeline to end by `control` after a while.
    async fn run(&self, after: Duration, control: Control) -> Result<Outcome, Error> {
        self.run_until(sleep(after), control).await
    }

    /// Runs, and tells the pipeline to end by `control` then.
    async fn run_until(
        &self,
        then: impl Future<Output = ()>,
        control: Control,
    ) -> Result<Outcome, Error> {
        let (sender, receiver) = mpsc::channel(1);
        let told = async {
            then.await;
            let _ = sender.send(control).await;
            // A controller stays, as a worker does.
            std::future::pending::<()>().await;
        };
        let run = Box::pin(timeout(HANGS, self.pipeline().run(receiver)));
        tokio::select! {
            ended = run => ended.expect("the pipeline hangs"),
            () = told => unreachable!(),
        }
    }

    async fn complete(&self) -> Result<Outcome, Error> {
        self.run(MINUTE, Control::Complete).await
    }

    #[track_caller]
    fn assert_completed(&self, ended: Result<Outcome, Error>) {
        self.ledger.assert_kept();
        assert_eq!(ended.unwrap(), Outcome::Completed);
        self.ledger.assert_complete();
        assert!(self.source.is_removed());
    }

    fn table(&self, name: &str) -> Option<TableSync> {
        self.store.checkpoint().tables.get(&ScriptedSource::table_name(name)).cloned()
    }
}

fn script(write: impl FnOnce(&mut Script)) -> Script {
    let mut script = Script::default();
    write(&mut script);
    script
}

#[track_caller]
fn assert_failed(ended: Result<Outcome, Error>, kind: ErrorKind, reason: &str) {
    let error = ended.unwrap_err();
    assert!(error.kind() == kind && error.to_string().contains(reason), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn transactions_arrive_whole_and_in_order() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).transaction(1, 10).pause(SECOND).transaction(2, 10);
    }));
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    assert_eq!(scene.ledger.calls(), [Call::Close, Call::Finish, Call::Remove]);
    let changes: usize = scene.sink.batches().iter().map(Batch::changes).sum();
    assert_eq!(changes, 6);
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_confirms_nothing() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).pause(SECOND).transaction(3, 10).heartbeat(50, true);
    }));
    scene.sink.writes.at(1, Fault::Fail(ErrorKind::Permanent));
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Permanent, "planned failure of write 1");
    assert!(scene.source.confirmed() < Lsn::new(130), "{}", scene.source.confirmed());
    assert_eq!(scene.store.checkpoint().position, Some(scene.source.confirmed()));
    scene.ledger.assert_kept();
    let ended = scene.complete().await;
    scene.assert_completed(ended);
}

#[tokio::test(start_paused = true)]
async fn a_failed_save_confirms_nothing() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).heartbeat(50, true);
    }));
    scene.store.positions.at(0, Fault::Fail(ErrorKind::Transient));
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Transient, "planned failure of save_position 0");
    assert_eq!(scene.source.confirmed(), START);
    scene.ledger.assert_kept();
    // What comes again is no progress.
    let stats = scene.stats.subscribe().borrow().clone();
    assert_eq!((stats.transactions, stats.saved), (1, Lsn::default()));
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    assert!(scene.stats.subscribe().borrow().saved > START);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_follows_heartbeats() {
    let scene = Scene::new(script(|script| {
        for _ in 0..5 {
            script.heartbeat(1_000, false).pause(SECOND);
        }
        script.until(&Gate::default());
    }));
    let ended = scene.run(5 * SECOND / 2, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    assert_eq!(scene.source.confirmed(), Lsn::new(START.get() + 3_000));
    assert_eq!(scene.sink.shapes(), ["@0/44C", "@0/834", "@0/C1C"]);
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_day_of_keepalives_pins_no_log_and_starves_no_connection() {
    const EVERY: Duration = Duration::from_secs(10);
    let keepalives = 24 * 3600 / 10;
    let scene = Scene::new(script(|script| {
        for number in 0..keepalives {
            // The server wants an answer now and then, and somebody writes once an hour.
            script.heartbeat(1_000, number % 6 == 5).pause(EVERY);
            if number % 360 == 359 {
                script.transaction(2, 10);
            }
        }
        script.until(&Gate::default());
    }));
    let start = Instant::now();
    let looks = async {
        for hour in 1..=24_u32 {
            sleep(start + hour * 60 * MINUTE + 2 * EVERY - Instant::now()).await;
            let passed = START.get() + u64::from(hour) * 360 * 1_000;
            assert!(scene.source.confirmed() > Lsn::new(passed), "stands still in hour {hour}");
        }
    };
    let (ended, ()) = tokio::join!(scene.run(24 * 60 * MINUTE + 3 * EVERY, Control::Stop), looks);
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    assert_eq!(scene.sink.batches().iter().map(Batch::changes).sum::<usize>(), 48);
    // A sign of life at least as often as the source asks for.
    let mut last = start;
    for (at, _) in scene.ledger.confirmations() {
        assert!(at - last <= EVERY, "{:?} without a word", at - last);
        last = at;
    }
    assert!(last - start >= 24 * 60 * MINUTE);
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_saves_once_a_second_and_confirms_only_that() {
    let scene = Scene::new(script(|script| {
        for _ in 0..1_000 {
            script.heartbeat(10, true).pause(SECOND / 100);
        }
        // Nothing comes after the last: it is followed all the same.
        script.until(&Gate::default());
    }));
    let looks = async {
        for second in 1..10 {
            sleep(SECOND).await;
            let behind =
                Lsn::new(START.get() + second * 1_000).bytes_since(scene.source.confirmed());
            assert!(behind <= 1_000, "{behind} bytes behind after {second} s");
        }
    };
    let (ended, ()) = tokio::join!(scene.run(12 * SECOND, Control::Stop), looks);
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    assert_eq!(scene.source.confirmed(), Lsn::new(START.get() + 10_000));
    assert_eq!(scene.ledger.saved_position(), scene.source.confirmed());
    let shapes = scene.sink.shapes();
    assert!(shapes.len() <= 12 && shapes.iter().all(|shape| shape.starts_with('@')), "{shapes:?}");
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_failed_save_of_an_idle_position_confirms_nothing() {
    let scene = Scene::new(script(|script| {
        script.heartbeat(1_000, true).pause(SECOND).heartbeat(1_000, true).until(&Gate::default());
    }));
    scene.store.positions.at(1, Fault::Fail(ErrorKind::Transient));
    let ended = scene.run(MINUTE, Control::Stop).await;
    assert_failed(ended, ErrorKind::Transient, "save_position 1");
    assert_eq!(scene.source.confirmed(), Lsn::new(START.get() + 1_000));
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_rests_follows_the_log_too() {
    // Messages outside of transactions carry no position of their own.
    let scene = Scene::new(script(|script| {
        for _ in 0..1_000 {
            script.message(10).heartbeat(92, false).pause(SECOND / 100);
        }
        script.until(&Gate::default());
    }));
    scene.sink.writes.every(Fault::Delay(SECOND / 20));
    let looks = async {
        for second in 1..10 {
            sleep(SECOND).await;
            let behind =
                Lsn::new(START.get() + second * 10_000).bytes_since(scene.source.confirmed());
            assert!(behind <= 12_000, "{behind} bytes behind after {second} s");
        }
    };
    let (ended, ()) = tokio::join!(scene.run(12 * SECOND, Control::Stop), looks);
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    assert_eq!(scene.source.confirmed(), Lsn::new(START.get() + 100_000));
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_inside_of_a_transaction_passes_nothing() {
    let gate = Gate::default();
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10).begin().heartbeat_ahead(500, true).change(10);
        script.heartbeat_ahead(500, false).pause(MINUTE / 2).heartbeat_ahead(500, true).commit();
        script.pause(SECOND).transaction(1, 10).until(&gate);
    }));
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    assert_eq!(scene.source.confirmed(), scene.ledger.saved_position());
}

#[tokio::test(start_paused = true)]
async fn a_blocked_sink_starves_no_keepalive_and_takes_three_batches_at_most() {
    let gate = Gate::default();
    let mut scene = Scene::new(script(|script| {
        for _ in 0..500 {
            script.transaction(7, 100).heartbeat(8, true);
        }
    }));
    scene.batch_bytes = 10_000;
    scene.sink.writes.at(0, Fault::Wait(gate.clone()));
    let begun = Instant::now();
    let control = async {
        sleep(10 * MINUTE).await;
        let blocked = scene.ledger.taken_bytes();
        // Each may be one change larger than its limit.
        assert!(blocked <= 3 * (scene.batch_bytes + 500), "{blocked}");
        gate.open();
    };
    let (ended, ()) = tokio::join!(scene.run(11 * MINUTE, Control::Complete), control);
    scene.assert_completed(ended);
    let mut last = begun;
    for (at, _) in scene.ledger.confirmations() {
        assert!(at - last <= Duration::from_secs(10), "{:?} without a word", at - last);
        last = at;
    }
    assert!(last - begun >= 11 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_smaller_than_a_batch_is_never_cut() {
    let mut scene = Scene::new(script(|script| {
        for _ in 0..200 {
            script.transaction(3, 10).pause(Duration::from_millis(10));
        }
    }));
    scene.batch_bytes = 20_000;
    scene.sink.writes.every(Fault::Delay(SECOND / 20));
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    let shapes = scene.sink.shapes();
    assert!(shapes.len() < 100, "{} batches", shapes.len());
    assert!(shapes.iter().all(|shape| shape.contains("C@")), "{shapes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_giant_transaction_travels_in_parts() {
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10).transaction(40, 500).transaction(2, 10);
    }));
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    let shapes = scene.sink.shapes();
    assert!(shapes.len() > 10, "{shapes:?}");
    let acks = shapes.iter().filter(|shape| shape.contains('@')).count();
    assert!(acks < 4, "{shapes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_inside_of_a_giant_transaction_lets_it_come_again() {
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10).begin();
        for _ in 0..40 {
            script.change(500).pause(SECOND);
        }
        script.commit().transaction(1, 10);
    }));
    let ended = scene.run(20 * SECOND + SECOND / 2, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    scene.ledger.assert_kept();
    assert_eq!(scene.ledger.calls(), [Call::Close]);
    assert!(!scene.source.is_removed());
    let parts = scene.sink.shapes();
    assert!(parts.len() > 3 && !parts.last().unwrap().contains('C'), "{parts:?}");
    let ended = scene.complete().await;
    scene.assert_completed(ended);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_write_that_has_begun() {
    let scene = Scene::new(script(|script| {
        for _ in 0..5 {
            script.transaction(1, 1_500);
        }
        script.until(&Gate::default());
    }));
    scene.sink.writes.every(Fault::Delay(MINUTE));
    let ended = scene.run(SECOND, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    scene.ledger.assert_kept();
    assert_eq!(scene.sink.shapes(), ["BcC@0/74", "BcC@0/84"], "one is written, one waits");
    assert_eq!(scene.source.confirmed(), Lsn::new(0x84));
}

#[tokio::test(start_paused = true)]
async fn complete_drains_what_is_in_the_log_when_it_is_told() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).heartbeat(1_000, false).pause(HANGS).transaction(1, 10);
    }));
    scene.sink.writes.every(Fault::Delay(5 * MINUTE));
    let ended = scene.run(SECOND, Control::Complete).await;
    assert_eq!(ended.unwrap(), Outcome::Completed);
    scene.ledger.assert_kept();
    assert_eq!(scene.sink.shapes(), ["BcccC@0/74", "@0/45C"], "the last position is saved too");
    assert_eq!(scene.source.confirmed(), Lsn::new(0x74 + 1_000));
    assert_eq!(scene.ledger.calls(), [Call::Close, Call::Finish, Call::Remove]);
}

#[tokio::test(start_paused = true)]
async fn a_completed_stream_has_saved_its_last_position() {
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10).heartbeat(8, false).pause(SECOND / 10).heartbeat(1_000, false);
        script.until(&Gate::default());
    }));
    let ended = scene.run(SECOND / 5, Control::Complete).await;
    assert_eq!(ended.unwrap(), Outcome::Completed);
    assert_eq!(scene.ledger.saved_position(), Lsn::new(0x74 + 1_008));
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn complete_ends_under_load() {
    let scene = Scene::new(script(|script| {
        for _ in 0..12_000 {
            script.transaction(1, 10).pause(Duration::from_millis(10));
        }
    }));
    scene.sink.writes.every(Fault::Delay(SECOND / 10));
    let begun = Instant::now();
    let ended = scene.run(MINUTE, Control::Complete).await;
    assert_eq!(ended.unwrap(), Outcome::Completed);
    scene.ledger.assert_kept();
    assert!(begun.elapsed() < MINUTE + 5 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn complete_during_start_up_completes() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(3, 10).transaction(1, 10);
    }));
    scene.source.tables = vec![("a", vec![2, 3])];
    scene.source.begins.at(0, Fault::Delay(MINUTE));
    let ended = scene.run(SECOND, Control::Complete).await;
    scene.assert_completed(ended);
    assert_eq!(scene.sink.rows().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn stop_during_start_up_stops() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(3, 10);
    }));
    scene.source.tables = vec![("a", vec![2, 3])];
    for (trouble, at) in
        [(&scene.sink.prepares, 0), (&scene.source.begins, 1), (&scene.source.reads, 1)]
    {
        trouble.at(if at == 0 { 0 } else { trouble.calls() + at - 1 }, Fault::Delay(MINUTE));
        let begun = Instant::now();
        let ended = scene.run(SECOND, Control::Stop).await;
        assert_eq!(ended.unwrap(), Outcome::Stopped);
        assert_eq!(begun.elapsed(), SECOND);
    }
    assert!(scene.sink.batches().is_empty());
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    assert_eq!(scene.sink.rows().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_drops_the_controller_stops_the_stream_but_not_its_completion() {
    let script = script(|script| {
        script.transaction(3, 10).pause(MINUTE);
    });
    for complete_before_start in [true, false] {
        let scene = Scene::new(script.clone());
        let (sender, receiver) = mpsc::channel(1);
        if complete_before_start {
            sender.send(Control::Complete).await.unwrap();
        }
        drop(sender);
        let ended = timeout(HANGS, scene.pipeline().run(receiver)).await.unwrap().unwrap();
        let expected = if complete_before_start { Outcome::Completed } else { Outcome::Stopped };
        assert_eq!(ended, expected);
    }
    let scene = Scene::new(script);
    let (sender, receiver) = mpsc::channel(1);
    scene.sink.writes.every(Fault::Delay(MINUTE));
    let told = async {
        sleep(SECOND).await;
        sender.send(Control::Complete).await.unwrap();
        drop(sender);
    };
    let (ended, ()) = tokio::join!(timeout(HANGS, scene.pipeline().run(receiver)), told);
    assert_eq!(ended.unwrap().unwrap(), Outcome::Completed);
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_completion_that_drains_or_finishes() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10);
    }));
    scene.sink.writes.at(0, Fault::Delay(2 * MINUTE));
    scene.sink.finishes.at(0, Fault::Delay(HANGS));
    for stopped_after in [2 * MINUTE, MINUTE] {
        let begun = Instant::now();
        let (sender, receiver) = mpsc::channel(1);
        let told = async {
            for control in [Control::Complete, Control::Complete, Control::Stop] {
                sender.send(control).await.unwrap();
                sleep(MINUTE / 2).await;
            }
        };
        let (ended, ()) = tokio::join!(timeout(HANGS, scene.pipeline().run(receiver)), told);
        assert_eq!(ended.expect("finish is not interrupted").unwrap(), Outcome::Stopped);
        assert!(begun.elapsed() <= stopped_after + MINUTE / 2, "{:?}", begun.elapsed());
        assert!(!scene.source.is_removed());
    }
    assert_eq!(scene.ledger.calls(), [Call::Close, Call::Close]);
    let ended = scene.complete().await;
    scene.assert_completed(ended);
}

#[tokio::test(start_paused = true)]
async fn the_writers_error_wins() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).pause(SECOND).fail(ErrorKind::Transient);
    }));
    scene.sink.writes.at(0, Fault::Fail(ErrorKind::Permanent));
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Permanent, "write 0");
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_readers_error_ends_the_stream_and_loses_nothing() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).begin().change(10).fail(ErrorKind::Transient).change(10);
        script.commit().transaction(2, 10);
    }));
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Transient, "next");
    scene.source.confirms.at(scene.source.confirms.calls() + 1, Fault::Fail(ErrorKind::Transient));
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Transient, "confirm");
    let ended = scene.complete().await;
    scene.assert_completed(ended);
}

/// A sink that never ends a write, and tells when it is gone.
struct Stuck {
    held: std::sync::Arc<()>,
}

impl Sink for Stuck {
    async fn fork(&self) -> Result<Option<Self>, Error> {
        Ok(Some(Self { held: std::sync::Arc::clone(&self.held) }))
    }

    async fn write(&mut self, _batch: &Batch) -> Result<(), Error> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn nothing_of_a_failed_run_is_left_when_it_returns() {
    let script = script(|script| {
        script.transaction(3, 10).pause(Duration::from_millis(20)).fail(ErrorKind::Transient);
    });
    let held = std::sync::Arc::new(());
    let sink = Stuck { held: std::sync::Arc::clone(&held) };
    let pipeline = Pipeline::new(ScriptedSource::new(script), sink, SharedStore::default());
    let (_sender, receiver) = mpsc::channel(1);
    assert!(pipeline.run(receiver).await.is_err());
    assert_eq!(std::sync::Arc::strong_count(&held), 1, "the sink is still in use");

    let mut source = ScriptedSource::new(Script::default());
    source.tables = vec![("a", vec![1, 1, 1])];
    source.readers = 3;
    source.reads.at(2, Fault::Fail(ErrorKind::Transient));
    let sink = Stuck { held: std::sync::Arc::clone(&held) };
    let (_sender, receiver) = mpsc::channel(1);
    let pipeline = Pipeline::new(source, sink, SharedStore::default());
    assert!(pipeline.run(receiver).await.is_err());
    assert_eq!(std::sync::Arc::strong_count(&held), 1, "a fork is still in use");
}

#[tokio::test(start_paused = true)]
async fn empty_transactions_advance_the_position_without_a_write_each() {
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10);
        for _ in 0..100 {
            script.transaction(0, 0).pause(SECOND / 100);
        }
        script.until(&Gate::default());
    }));
    let ended = scene.run(5 * SECOND / 2, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    scene.ledger.assert_complete();
    assert!(scene.sink.shapes().len() < 4, "{:?}", scene.sink.shapes());
    assert_eq!(scene.ledger.saved_position(), scene.source.confirmed());
}

#[tokio::test(start_paused = true)]
async fn messages_outside_of_transactions_are_written_before_they_are_passed() {
    let scene = Scene::new(script(|script| {
        script.message(10).transaction(1, 10).message(10).message(5_000).heartbeat(100, true);
        script.message(10).heartbeat(100, true);
    }));
    scene.sink.writes.every(Fault::Delay(SECOND));
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    let changes: usize = scene.sink.batches().iter().map(Batch::changes).sum();
    assert_eq!(changes, 5);
    assert_eq!(scene.source.confirmed(), Lsn::new(100 + 6 * 8 + 200));
}

#[tokio::test(start_paused = true)]
async fn the_sink_learns_that_the_stream_has_passed_the_snapshot() {
    let gate = Gate::default();
    let mut scene = Scene::new(script(|script| {
        script.transaction(1, 10).pause(SECOND).heartbeat(500, false).pause(SECOND);
        script.heartbeat(8, false).pause(SECOND / 10).heartbeat(1_000, false);
        for _ in 0..10 {
            script.pause(SECOND / 100).heartbeat(10, true);
        }
        script.until(&gate);
    }));
    scene.source.tables = vec![("a", vec![1])];
    scene.source.snapshot_lsn = Lsn::new(1_000);
    let ended = scene.run(3 * SECOND / 2, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    assert_eq!(scene.sink.shapes(), ["r", "BcC@0/74", "@0/268"]);
    // The one that it waits for leaves at once, the others a second after the last that left by itself.
    let ended = scene.run(3 * SECOND / 2, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    let expected = ["r", "BcC@0/74", "@0/268", "@0/270", "@0/658"];
    assert_eq!(scene.sink.shapes(), expected);
    assert_eq!(scene.sink.completed(), [Some(Lsn::new(1_000)); 2]);
    scene.ledger.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_position_that_a_slow_sink_waits_for_is_sent_once() {
    let mut scene = Scene::new(script(|script| {
        for _ in 0..100 {
            script.heartbeat(1_000, false).pause(SECOND / 100);
        }
        script.until(&Gate::default());
    }));
    scene.source.tables = vec![("a", vec![1])];
    scene.source.snapshot_lsn = Lsn::new(1_000);
    scene.sink.writes.every(Fault::Delay(10 * SECOND));
    let ended = scene.run(MINUTE, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    let log_end = START.get() + 100 * 1_000;
    assert_eq!(scene.source.confirmed(), Lsn::new(log_end));
    // One is written, one waits, one collects: none of them for each heartbeat.
    assert_eq!(scene.sink.shapes(), ["r", "@0/44C", "@0/834", "@0/18704"]);
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_taken_in_two_goes_is_followed_to_the_last_and_then_complete() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(1, 10).pause(SECOND).transaction(1, 10).pause(SECOND);
        script.transaction(1, 10).until(&Gate::default());
    }));
    scene.source.tables = vec![("a", vec![1]), ("b", vec![1, 1])];
    scene.source.snapshot_only = true;
    scene.source.reads.every(Fault::Delay(SECOND));
    scene.source.reads.at(2, Fault::Fail(ErrorKind::Transient));
    let ended = scene.run(HANGS / 2, Control::Stop).await;
    assert_failed(ended, ErrorKind::Transient, "table `public.b`");
    scene.source.snapshot_lsn = Lsn::new(0x80);
    let ended = scene.run(HANGS / 2, Control::Stop).await;
    assert_eq!(ended.unwrap(), Outcome::Completed);
    assert_eq!(scene.sink.shapes(), ["r", "r", "r", "r", "BcC@0/74", "BcC@0/84"]);
    assert_eq!(scene.sink.completed(), [Some(Lsn::new(0x80))]);
    assert_eq!(scene.ledger.calls(), [Call::Close, Call::Finish, Call::Remove]);
    scene.ledger.assert_kept();
}

/// Nothing but the log knows of a row that was removed between two copies.
#[tokio::test(start_paused = true)]
async fn where_copied_rows_stay_the_log_up_to_the_next_copy_comes_before_it() {
    for keeps in [false, true] {
        let mut scene = Scene::new(script(|script| {
            script.transaction(1, 10).transaction(2, 10).transaction(1, 10).pause(SECOND);
            script.transaction(1, 10).until(&Gate::default());
        }));
        scene.sink.keeps_copied_rows = keeps;
        scene.source.tables = vec![("a", vec![1]), ("b", vec![1, 1])];
        scene.source.reads.every(Fault::Delay(SECOND));
        scene.source.reads.at(2, Fault::Fail(ErrorKind::Transient));
        let ended = scene.run(HANGS / 2, Control::Stop).await;
        assert_failed(ended, ErrorKind::Transient, "table `public.b`");
        assert_eq!(scene.sink.shapes(), ["r", "r"]);
        // The third transaction begins its commit record there.
        let third = scene.source.commit_of(2);
        scene.source.snapshot_lsn = third;
        let ended = scene.run(HANGS / 2, Control::Stop).await;
        assert_eq!(ended.unwrap(), Outcome::Stopped);
        let shapes: Vec<_> = scene.sink.shapes()[2..]
            .iter()
            .map(|shape| shape.split('@').next().unwrap_or_default().to_owned())
            .filter(|shape| !shape.is_empty())
            .collect();
        let (before, rows, after) = (["BcCBccC"], ["r", "r"], ["BcC", "BcC"]);
        let expected = match keeps {
            true => [&before[..], &rows, &after].concat(),
            false => [&rows[..], &before, &after].concat(),
        };
        assert_eq!(shapes.concat(), expected.concat(), "{keeps}");
        scene.ledger.assert_kept();
        scene.ledger.assert_complete();
    }
}

/// What was delivered is told by the slot alone; a run that is cut off before the copy is followed by one that knows as little.
#[tokio::test(start_paused = true)]
async fn where_the_checkpoint_is_lost_the_log_from_the_slot_to_the_next_copy_comes_before_it() {
    type Lose = fn(&mut Checkpoint);
    let losses: [(Lose, Option<u64>); 2] = [
        (|checkpoint| *checkpoint = Checkpoint::default(), None),
        // In the middle of a copy, of which the backup tells.
        (|checkpoint| checkpoint.position = None, Some(1)),
    ];
    for ((lose, failing_read), is_cut_off) in
        losses.into_iter().flat_map(|loss| [(loss, false), (loss, true)])
    {
        let mut scene = Scene::new(script(|script| {
            script.transaction(1, 10).pause(MINUTE).transaction(2, 10).transaction(1, 10);
            script.until(&Gate::default());
        }));
        scene.sink.keeps_copied_rows = true;
        scene.source.tables = vec![("a", vec![1, 1])];
        if let Some(read) = failing_read {
            scene.source.reads.at(read, Fault::Fail(ErrorKind::Transient));
        }
        let ended = scene.run(SECOND, Control::Stop).await;
        assert_eq!(ended.is_err(), failing_read.is_some());
        scene.store.lose(lose);
        let before = scene.sink.shapes().len();
        scene.source.snapshot_lsn = scene.source.commit_of(2);
        if is_cut_off {
            // In the log before the copy.
            scene.sink.writes.at(scene.sink.writes.calls(), Fault::Fail(ErrorKind::Transient));
            let ended = scene.run(HANGS / 2, Control::Stop).await;
            assert_failed(ended, ErrorKind::Transient, "planned failure of write");
        }
        let ended = scene.run(HANGS / 2, Control::Stop).await;
        assert_eq!(ended.unwrap(), Outcome::Stopped);
        let shapes = scene.sink.shapes()[before..].join(" ");
        let (settled, rest) = shapes.split_once(" r r ").unwrap_or_default();
        assert!(settled.contains("BccC") && rest.contains("BcC@"), "{shapes}");
        scene.ledger.assert_kept();
        scene.ledger.assert_complete();
    }
}

/// It has read the checkpoint, and finds that what it speaks of was removed.
#[tokio::test(start_paused = true)]
async fn a_stream_that_another_worker_completes_while_this_one_starts() {
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10);
    }));
    scene.source.inspects.at(0, Fault::Delay(10 * MINUTE));
    let late = scene.complete();
    let other = async {
        sleep(SECOND).await;
        scene.complete().await
    };
    let (late, other) = tokio::join!(late, other);
    assert_eq!(other.unwrap(), Outcome::Completed);
    assert_eq!(late.unwrap(), Outcome::Completed);
}

/// It has read the checkpoint, and finds the slot beyond it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_another_worker_goes_on_with_while_this_one_starts() {
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10).pause(MINUTE).transaction(2, 10);
    }));
    assert_eq!(scene.run(SECOND, Control::Stop).await.unwrap(), Outcome::Stopped);
    scene.source.inspects.at(1, Fault::Delay(10 * MINUTE));
    let late = scene.complete();
    let other = async {
        sleep(SECOND).await;
        scene.run(5 * MINUTE, Control::Stop).await
    };
    let (late, other) = tokio::join!(late, other);
    assert_eq!(other.unwrap(), Outcome::Stopped);
    let late = late.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
}

/// What stands under the stream's names at the source by now may be that of its next beginning.
#[tokio::test(start_paused = true)]
async fn a_worker_that_lost_its_stream_to_one_that_delivered_it_removes_nothing() {
    let scene = Scene::new(script(|script| {
        script.transaction(1, 10);
    }));
    scene.source.inspects.at(0, Fault::Delay(10 * MINUTE));
    scene.store.completions.at(1, Fault::Fail(ErrorKind::Transient));
    let late = scene.complete();
    let other = async {
        sleep(SECOND).await;
        scene.complete().await
    };
    let (late, other) = tokio::join!(late, other);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Transient);
    let late = late.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
    assert_eq!(scene.source.removes.calls(), 1);
}

/// Another worker removed what it had been about to remove, and what is there now belongs to the stream's next beginning.
#[tokio::test(start_paused = true)]
async fn a_worker_that_was_away_since_it_delivered_the_stream_removes_nothing_of_its_next_beginning()
 {
    for asks_late in [true, false] {
        let scene = Scene::new(script(|script| {
            script.transaction(1, 10);
        }));
        // Away before it asks whether the stream is its own, or after.
        match asks_late {
            true => scene.store.loads.at(2, Fault::Delay(10 * MINUTE)),
            false => scene.source.removes.at(0, Fault::Delay(10 * MINUTE)),
        }
        let late = scene.complete();
        let next = async {
            sleep(3 * MINUTE).await;
            assert_eq!(scene.store.checkpoint().completion, Completion::Delivered);
            assert_eq!(scene.complete().await.unwrap(), Outcome::Completed);
            scene.store.lose(|checkpoint| *checkpoint = Checkpoint::default());
            scene.source.begin_anew(Lsn::new(1_000));
        };
        let (late, ()) = tokio::join!(late, next);
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
        assert!(!scene.source.is_removed(), "{asks_late}");
        assert_eq!(scene.store.checkpoint().completion, Completion::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn complete_adds_nothing_to_a_snapshot_alone() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(1, 10).transaction(1, 10).transaction(1, 10);
    }));
    scene.source.tables = vec![("a", vec![1]), ("b", vec![1, 1])];
    scene.source.snapshot_only = true;
    scene.source.reads.every(Fault::Delay(SECOND));
    scene.source.reads.at(2, Fault::Fail(ErrorKind::Transient));
    assert!(scene.run(MINUTE, Control::Stop).await.is_err());
    scene.source.snapshot_lsn = Lsn::new(0x80);
    let ended = scene.run(Duration::ZERO, Control::Complete).await;
    assert_eq!(ended.unwrap(), Outcome::Completed);
    assert_eq!(scene.ledger.saved_position(), Lsn::new(0x84));
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_commit_beyond_the_snapshot_needs_no_further_word() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(1, 10).pause(SECOND).transaction(1, 10).pause(SECOND);
    }));
    scene.source.tables = vec![("a", vec![1])];
    scene.source.snapshot_lsn = Lsn::new(0x80);
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    assert_eq!(scene.sink.shapes(), ["r", "BcC@0/74", "BcC@0/84"]);
}

fn three_tables(scene: &mut Scene) {
    scene.source.tables = vec![("a", vec![2, 1, 3]), ("b", vec![4]), ("c", vec![1, 0, 1, 1])];
    scene.source.readers = 3;
    scene.sink.forks = true;
}

#[tokio::test(start_paused = true)]
async fn a_table_is_complete_with_its_last_chunk() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(1, 10);
    }));
    three_tables(&mut scene);
    // Chunks a.0, a.1, a.2, b.0, ...: the first of them is the last to be read.
    scene.source.reads.at(0, Fault::Delay(30 * SECOND));
    scene.source.reads.every(Fault::Delay(SECOND));
    let looks = async {
        sleep(20 * SECOND).await;
        assert_eq!(scene.table("a"), copying("a"));
        let synced = ["b", "c"].map(|name| Some(synced_at(name, START)));
        assert_eq!([scene.table("b"), scene.table("c")], synced);
    };
    let (ended, ()) = tokio::join!(scene.complete(), looks);
    scene.assert_completed(ended);
    let rows = scene.sink.rows();
    let expected = "a.0.0 a.0.1 a.1.0 a.2.0 a.2.1 a.2.2 b.0.0 b.0.1 b.0.2 b.0.3 c.0.0 c.2.0 c.3.0";
    assert_eq!(rows.join(" "), expected);
}

#[tokio::test(start_paused = true)]
async fn a_failing_chunk_leaves_its_table_copying_and_only_that_is_copied_again() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(1, 10);
    }));
    three_tables(&mut scene);
    // One reader's chunk of table c fails while another reads the last of a.
    scene.source.reads.every(Fault::Delay(SECOND));
    scene.source.reads.at(2, Fault::Delay(10 * MINUTE));
    scene.source.reads.at(6, Fault::Fail(ErrorKind::Transient));
    let begun = Instant::now();
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Transient, "table `public.c`");
    assert!(begun.elapsed() < MINUTE, "the failure waits for other chunks: {:?}", begun.elapsed());
    scene.ledger.assert_kept();
    assert_eq!((scene.table("a"), scene.table("c")), (copying("a"), copying("c")));
    assert_eq!(scene.table("b"), Some(synced_at("b", START)));

    let before = scene.sink.rows();
    scene.source.snapshot_lsn = Lsn::new(300);
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    let b_rows = |rows: &[String]| rows.iter().filter(|row| row.starts_with('b')).count();
    assert_eq!((b_rows(&before), b_rows(&scene.sink.rows())), (4, 4));
    assert_eq!(scene.table("a"), Some(synced_at("a", Lsn::new(300))));
}

#[tokio::test(start_paused = true)]
async fn the_first_reader_notices_that_another_failed() {
    let mut scene = Scene::new(Script::default());
    three_tables(&mut scene);
    scene.source.reads.at(0, Fault::Delay(10 * MINUTE));
    scene.source.reads.at(1, Fault::Fail(ErrorKind::Transient));
    scene.source.reads.at(2, Fault::Delay(10 * MINUTE));
    for first in 0..2 {
        let begun = Instant::now();
        let ended = scene.complete().await;
        assert_failed(ended, ErrorKind::Transient, "cannot copy table");
        assert!(begun.elapsed() < MINUTE, "run {first} took {:?}", begun.elapsed());
        let calls = scene.source.reads.calls();
        scene.source.reads.at(calls, Fault::Fail(ErrorKind::Transient));
        scene.source.reads.at(calls + 1, Fault::Delay(10 * MINUTE));
        scene.source.reads.at(calls + 2, Fault::Delay(10 * MINUTE));
    }
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_complete_is_recorded_though_the_next_one_fails_meanwhile() {
    let mut scene = Scene::new(Script::default());
    scene.source.tables = vec![("a", vec![1]), ("b", vec![1])];
    scene.store.tables.at(1, Fault::Delay(SECOND));
    scene.source.reads.at(1, Fault::Fail(ErrorKind::Transient));
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Transient, "table `public.b`");
    assert_eq!(scene.table("a"), Some(synced_at("a", START)));
    assert_eq!(scene.table("b"), copying("b"));
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_recorded_is_copied_again() {
    let mut scene = Scene::new(Script::default());
    three_tables(&mut scene);
    scene.store.tables.at(2, Fault::Fail(ErrorKind::Transient));
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Transient, "save_tables 2");
    scene.ledger.assert_kept();
    let ended = scene.complete().await;
    scene.assert_completed(ended);
}

#[tokio::test(start_paused = true)]
async fn a_table_without_a_chunk_is_not_taken_for_complete() {
    let mut scene = Scene::new(Script::default());
    scene.source.tables = vec![("a", vec![1]), ("b", vec![])];
    let ended = scene.complete().await;
    assert_failed(ended, ErrorKind::Permanent, "table `public.b` is not complete");
    assert_eq!(scene.table("b"), copying("b"));
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_alone_completes() {
    let mut scene = Scene::new(Script::default());
    three_tables(&mut scene);
    scene.source.snapshot_only = true;
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    assert_eq!(scene.ledger.calls(), [Call::Finish, Call::Remove]);
}

#[tokio::test(start_paused = true)]
async fn a_completed_stream_is_complete_at_every_later_start() {
    let mut scene = Scene::new(script(|script| {
        script.transaction(3, 10);
    }));
    scene.source.tables = vec![("a", vec![1])];
    let ended = scene.complete().await;
    scene.assert_completed(ended);
    assert_eq!(scene.store.checkpoint().completion, Completion::Completed);
    let calls = scene.ledger.calls();
    for control in [Control::Complete, Control::Stop] {
        let ended = scene.run(MINUTE, control).await;
        assert_eq!(ended.unwrap(), Outcome::Completed);
    }
    assert_eq!(scene.ledger.calls(), calls);
    assert_eq!((scene.sink.prepares.calls(), scene.source.begins.calls()), (1, 1));
    assert_eq!(scene.source.removes.calls(), 1);
    scene.ledger.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_completion_cut_off_at_any_step_is_taken_up_there() {
    use Call::{Close, Finish, Remove};
    let fault = || Fault::Fail(ErrorKind::Transient);
    type Plan<'a> = &'a dyn Fn(&Scene);
    let cases: [(Plan<'_>, &str, &[Call]); 4] = [
        (&|scene| scene.sink.finishes.at(0, fault()), "finish", &[Close, Close, Finish, Remove]),
        (
            &|scene| scene.store.completions.at(0, fault()),
            "save_completion 0",
            &[Close, Finish, Close, Finish, Remove],
        ),
        (&|scene| scene.source.removes.at(0, fault()), "remove", &[Close, Finish, Remove]),
        (
            &|scene| scene.store.completions.at(1, fault()),
            "save_completion 1",
            &[Close, Finish, Remove, Remove],
        ),
    ];
    for (plan, reason, calls) in cases {
        let scene = Scene::new(script(|script| {
            script.transaction(3, 10);
        }));
        plan(&scene);
        assert_failed(scene.complete().await, ErrorKind::Transient, reason);
        let ended = scene.complete().await;
        scene.assert_completed(ended);
        assert_eq!(scene.ledger.calls(), calls, "after a failed {reason}");
        assert_eq!(scene.store.checkpoint().completion, Completion::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_completes_the_stream_unless_inside_of_a_transaction() {
    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).transaction(1, 10).end().end().end();
    }));
    scene.sink.writes.every(Fault::Delay(SECOND));
    let ended = scene.run(HANGS, Control::Stop).await;
    scene.assert_completed(ended);

    let scene = Scene::new(script(|script| {
        script.transaction(3, 10).begin().change(10).end();
    }));
    let ended = scene.run(MINUTE, Control::Stop).await;
    assert_failed(ended, ErrorKind::Transient, "inside of a transaction");
    scene.ledger.assert_kept();
}

/// A script with all that can happen, and trouble at its parts.
fn random_scene(rng: &mut fastrand::Rng, pause: impl Fn(u64) -> Duration) -> Scene {
    let script = script(|script| {
        for _ in 0..rng.usize(0..30) {
            random_step(script, rng, &pause);
        }
        script.transaction(1, 10);
    });
    let mut scene = Scene::new(script);
    scene.batch_bytes = [1, 500, 2_000, 20_000][rng.usize(0..4)];
    scene.source.tables = ["a", "b", "c"]
        .into_iter()
        .take(rng.usize(0..4))
        .map(|name| (name, (0..rng.usize(1..4)).map(|_| rng.usize(0..4)).collect()))
        .collect();
    scene.source.snapshot_lsn = Lsn::new(START.get() + rng.u64(0..400));
    scene.source.readers = rng.usize(1..4);
    scene.sink.forks = rng.bool();
    let parts = [
        &scene.source.begins,
        &scene.source.reads,
        &scene.source.confirms,
        &scene.source.removes,
        &scene.sink.prepares,
        &scene.sink.writes,
        &scene.sink.finishes,
        &scene.store.positions,
        &scene.store.tables,
        &scene.store.completions,
    ];
    for part in parts {
        for _ in 0..rng.usize(0..3) {
            let fault = match rng.bool() {
                true => Fault::Fail(ErrorKind::Transient),
                false => Fault::Delay(pause(rng.u64(0..40_000))),
            };
            part.at(rng.u64(0..10), fault);
        }
    }
    scene
}

fn random_step(script: &mut Script, rng: &mut fastrand::Rng, pause: &impl Fn(u64) -> Duration) {
    match rng.u32(0..10) {
        0..3 => {
            script.transaction(rng.u64(0..4), rng.usize(0..100));
        }
        3 => {
            script.begin();
            for _ in 0..rng.usize(0..20) {
                match rng.u32(0..12) {
                    0 => script.heartbeat_ahead(rng.u64(0..300), rng.bool()),
                    1 => script.pause(pause(rng.u64(0..8_000))),
                    2 if rng.bool() => script.fail(ErrorKind::Transient),
                    _ => script.change(rng.usize(0..800)),
                };
            }
            script.commit();
        }
        4 => {
            script.message(rng.usize(0..800));
        }
        5..7 => {
            script.heartbeat(rng.u64(0..300), rng.bool());
        }
        7 => {
            script.fail(ErrorKind::Transient);
        }
        _ => {
            script.pause(pause(rng.u64(0..8_000)));
        }
    }
}

/// Runs a scene from its store until it is complete, with a stop now and then.
async fn run_to_the_end(seed: u64, scene: &Scene, rng: &mut fastrand::Rng, end: Duration) {
    for _ in 0..60 {
        let (control, after) = match rng.u32(0..4) {
            0 => (Control::Stop, end.mul_f64(rng.f64())),
            _ => (Control::Complete, Duration::ZERO),
        };
        let then = async {
            sleep(after).await;
            while control == Control::Complete && !scene.source.has_happened() {
                sleep(end / 50).await;
            }
        };
        let ended = scene.run_until(then, control).await;
        let violations = scene.ledger.violations();
        assert!(violations.is_empty(), "seed {seed}: {violations:?}");
        match ended {
            Ok(Outcome::Completed) => {
                scene.ledger.assert_complete();
                let rows: usize = scene.source.tables.iter().flat_map(|(_, parts)| parts).sum();
                let mut copied = scene.sink.rows();
                copied.dedup();
                assert_eq!(copied.len(), rows, "seed {seed}");
                return;
            }
            Ok(Outcome::Stopped) => assert_eq!(control, Control::Stop, "seed {seed}"),
            Err(error) => assert!(error.is_retryable(), "seed {seed}: {error:?}"),
        }
    }
    panic!("seed {seed} does not come to an end");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_whatever_happens() {
    for seed in 0..600 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let scene = random_scene(&mut rng, Duration::from_millis);
        run_to_the_end(seed, &scene, &mut rng, 5 * MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_there_is_lost_when_it_completes_at_any_moment() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let scene = random_scene(&mut rng, Duration::from_millis);
        let ended = scene.run(Duration::from_millis(rng.u64(0..60_000)), Control::Complete).await;
        let violations = scene.ledger.violations();
        assert!(violations.is_empty(), "seed {seed}: {violations:?}");
        let completed = ended.is_ok_and(|ended| ended == Outcome::Completed);
        let expected = match scene.store.checkpoint().completion {
            Completion::Open => (false, false),
            // Its removal failed, or what was to be saved after it.
            Completion::Delivered => (false, scene.source.is_removed()),
            Completion::Completed => (true, true),
        };
        assert_eq!((completed, scene.source.is_removed()), expected, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_when_the_halves_race() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let scene = random_scene(&mut rng, Duration::from_micros);
        run_to_the_end(seed, &scene, &mut rng, Duration::from_millis(50)).await;
    }
}

/// The parts of a test are moved between threads.
const _: fn() = || {
    fn is_send<F: Future + Send>(_: impl FnOnce(Watched, mpsc::Receiver<Control>) -> F) {}
    is_send(|pipeline, control| pipeline.run(control));
};

fn copying(name: &str) -> Option<TableSync> {
    Some(TableSync::Copying { lsn: START, relation: Some(ScriptedSource::relation_id(name)) })
}

fn synced_at(name: &str, lsn: Lsn) -> TableSync {
    let numbers = [("name".to_owned(), 1)].into();
    let columns = ColumnNumbers { numbers, ..ColumnNumbers::default() };
    let relation = ScriptedSource::relation_id(name);
    let origin = TableOrigin { relation, columns, ..TableOrigin::default() };
    TableSync::Synced { lsn, origin }
}
