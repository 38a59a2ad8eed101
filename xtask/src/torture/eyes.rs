//! How far the stream is, as its databases tell; blind while one of them is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stream_core::postgres::{ConnectOptions, SqlClient};
use tokio::time::timeout;

use super::faults::Phase;
use super::migration::is_passing;
use super::receiver::Receiver;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

const THERE: &str = "SELECT to_regclass('sgstream.pending') IS NOT NULL";
/// A table that was dropped or renamed before its copy was complete never will be: see `migration`.
const PROGRESS: &str = "
SELECT epoch, coalesce((SELECT bool_and(synced_at IS NOT NULL) FROM sgstream.table_sync WHERE table_name !~ '^(new|moved)_'), false),
    EXISTS (SELECT FROM sgstream.pending), to_regclass('public.nothing') IS NOT NULL
FROM sgstream.progress";
const FOLLOWED: &str = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE active AND NOT temporary AND slot_name LIKE 'default_%')";

const STREAMED: &str =
    "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state IN ('catchup', 'streaming'))";

/// What is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Grows with each start of a worker, or with each event of one.
    pub(super) epoch: i64,
    pub(super) phase: Phase,
    /// Whether the phase's work has begun.
    pub(super) at_work: bool,
}

/// The end where changes arrive.
pub(super) enum Watched {
    Postgres(Box<Session>),
    /// And where the worker keeps its position.
    Receiver(Arc<Receiver>, PathBuf),
}

/// Looks at both ends.
pub(super) struct Eyes {
    source: Session,
    target: Watched,
}

impl Eyes {
    pub(super) fn new(source: &ConnectOptions, target: Watched) -> Self {
        Self { source: Session::new(source), target }
    }

    /// Looks; `None` when the stream has not begun, or a server does not answer.
    pub(super) async fn look(&mut self) -> Option<Seen> {
        timeout(PATIENCE, self.look_long()).await.ok()?
    }

    async fn look_long(&mut self) -> Option<Seen> {
        let target = match &mut self.target {
            Watched::Postgres(target) => target,
            Watched::Receiver(receiver, offsets) => {
                let epoch = receiver.count().try_into().ok()?;
                // The log comes before a copy that was interrupted, too.
                let copied = std::fs::read_to_string(offsets).is_ok_and(|text| is_copied(&text));
                let followed = copied && self.source.row(STREAMED).await?.get(0);
                let phase = if followed { Phase::Stream } else { Phase::Snapshot };
                return Some(Seen { epoch, phase, at_work: true });
            }
        };
        if !target.row(THERE).await?.get::<_, bool>(0) {
            return None;
        }
        let row = target.row(PROGRESS).await?;
        let (epoch, synced, pending, made): (i64, bool, bool, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if !synced {
            return Some(Seen { epoch, phase: Phase::Snapshot, at_work: made });
        }
        let followed: bool = self.source.row(FOLLOWED).await?.get(0);
        let phase = if pending || !followed { Phase::Handover } else { Phase::Stream };
        Some(Seen { epoch, phase, at_work: pending || followed })
    }
}

/// Whether a position file says of all tables that their copies are complete. Those that come and go while the stream runs are of no interest, nor is
/// the one whose columns do: it is copied again and again.
fn is_copied(offsets: &str) -> bool {
    let state = offsets.splitn(3, '\n').nth(2).and_then(|text| serde_json::from_str(text).ok());
    let state: serde_json::Value = state.unwrap_or_default();
    let tables = state.get("tables").and_then(serde_json::Value::as_array);
    let mut lasting = tables.into_iter().flatten().filter(|table| {
        let name = table.pointer("/name/name").and_then(serde_json::Value::as_str);
        name.is_some_and(|name| !is_passing(name) && name != "altered")
    });
    tables.is_some_and(|tables| !tables.is_empty())
        && lasting.all(|table| table.get("synced").is_some_and(|synced| !synced.is_null()))
}

/// A session that is opened anew after a failure.
pub(super) struct Session {
    connect: ConnectOptions,
    client: Option<SqlClient>,
}

impl Session {
    pub(super) fn new(connect: &ConnectOptions) -> Self {
        Self { connect: connect.clone(), client: None }
    }

    /// The first row of the answer; `None` after a failure or without a row.
    pub(super) async fn row(&mut self, sql: &str) -> Option<tokio_postgres::Row> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(super::lab::session(&self.connect).await.ok()?),
        };
        if let Ok(row) = client.query_opt(sql, &[]).await {
            row
        } else {
            self.client = None;
            None
        }
    }
}
