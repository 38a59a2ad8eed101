//! Whether a stream may go on with its slot. Pure.
//!
//! In: what the server says of the slot, and the position that was saved last. Out: nothing, or the
//! [`SlotProblem`]. Whatever would lose changes without a word is one.

use std::fmt;

use super::slot::{SlotState, SlotType, WalStatus, drop_sql};
use crate::lsn::Lsn;

/// What a slot has to be, for a stream to go on with it.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The slot's name.
    pub slot: &'a str,
    /// The database that is streamed.
    pub database: &'a str,
    /// The last position that was saved; `None` when there never was one. Every position has to be
    /// saved before it is confirmed, those of keepalives too.
    pub stored: Option<Lsn>,
    /// Where the server's log ends now: [`server_position`](super::slot::server_position).
    pub server: Lsn,
    /// Where the server's log left the timeline of the saved position, if it is on another.
    pub fork: Option<Fork>,
}

/// A log that goes on beside another: a standby was promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The timeline on which a position was saved.
    pub saved: u32,
    /// The timeline of the server.
    pub timeline: u32,
    /// What both have in common ends here; 0 when that is not known.
    pub at: Lsn,
}

impl Fork {
    /// Reads it from the history of the server's timeline: a line for each earlier one, with where it was left.
    ///
    /// Source: <https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES>
    #[must_use]
    pub fn new(history: &str, saved: u32, timeline: u32) -> Self {
        let mut left = history.lines().filter_map(|line| {
            let mut parts = line.split_whitespace();
            let earlier: u32 = parts.next()?.parse().ok()?;
            let at: Lsn = parts.next()?.parse().ok()?;
            (earlier <= saved).then_some(at)
        });
        Self { saved, timeline, at: left.next_back().unwrap_or_default() }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { saved, timeline, at } = self;
        write!(
            f,
            "the server was promoted: its log left timeline {saved} at {at}, and goes on as timeline {timeline}"
        )
    }
}

/// Why a stream cannot go on with its slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotProblem {
    /// The slot is no longer there, and a saved position says that it was. A new one would lack the changes in between, so none is made.
    ///
    /// Remedy: run the statement at the end of the message: it makes the stream begin anew with a snapshot. To fail over without loss, use
    /// failover slots (17 and later).
    #[error(
        "replication slot `{slot}` is gone, and the changes after {stored} with it: it was dropped, \
         or this server was promoted without it; take a new snapshot to start again"
    )]
    Dropped {
        /// The slot.
        slot: String,
        /// The last saved position.
        stored: Lsn,
    },
    /// The server gave the slot up, because it kept more log than `max_slot_wal_keep_size` allows, stood idle longer than
    /// `idle_replication_slot_timeout`, or was in the way of recovery. The changes are gone.
    ///
    /// Remedy: run the two statements of the message: one drops the slot, the other makes the stream begin anew with a snapshot. Then raise
    /// the limit, and find out why the stream stood still.
    #[error(
        "replication slot `{slot}` is lost ({reason}), and the changes after its last position with \
         it: run `{drop}`, {remedy}, and take a new snapshot"
    )]
    Lost {
        /// The slot.
        slot: String,
        /// The server's reason.
        reason: String,
        /// The statement that removes it.
        drop: String,
        /// The setting to change, so that it does not happen again.
        remedy: &'static str,
    },
    /// The publication was dropped while the stream ran, or was made after the slot. PostgreSQL reads the log with the catalogue of its
    /// time, so making it again does not help.
    ///
    /// Remedy: run the two statements of the message: one drops the slot, the other makes the stream begin anew with a snapshot. Do not
    /// drop a stream's publication.
    #[error(
        "publication `{publication}` did not exist when the log was written that slot `{slot}` has come to, so that \
         the changes there cannot be read, not even once it was made again: run `{drop}` at the source, and take a \
         new snapshot"
    )]
    Unpublished {
        /// The slot.
        slot: String,
        /// The publication.
        publication: String,
        /// The statement that removes the slot.
        drop: String,
    },
    /// The slot was used or made by somebody else since the position was saved: the changes in between were confirmed, and are gone.
    ///
    /// Remedy: find who reads from the slot, and give each reader its own. Then begin anew with the statement at the end of the message.
    #[error(
        "replication slot `{slot}` stands at {confirmed}, beyond {stored}, the last saved position: \
         it was dropped and made again, or read by somebody else, and the changes between are \
         missing; take a new snapshot to start again"
    )]
    Ahead {
        /// The slot.
        slot: String,
        /// Where the slot stands.
        confirmed: Lsn,
        /// The last saved position.
        stored: Lsn,
    },
    /// The server's log is shorter than what was already read: another server, one that was restored, or a standby that was promoted too
    /// early.
    ///
    /// Remedy: connect to the right server. If it is right, the target has rows that the source lost: begin anew with the statement at the
    /// end of the message.
    #[error(
        "position {stored} of slot `{slot}` was saved, and the server's log ends at {server}: this \
         is another server, a restored one, or a standby that was promoted before it had \
         everything; connect to the right server, or take a new snapshot"
    )]
    ServerBehind {
        /// The slot.
        slot: String,
        /// The last saved position.
        stored: Lsn,
        /// Where the server's log ends.
        server: Lsn,
    },
    /// The server does not have all that was read of the log before it was promoted.
    ///
    /// Remedy: connect to the server that has them, or begin anew with a new snapshot.
    #[error(
        "{fork}; but position {stored} of slot `{slot}` was read on timeline {saved}, so that the target may hold changes that \
         this server never had: connect to the server that has them, or take a new snapshot",
        saved = .fork.saved
    )]
    Forked {
        /// The slot.
        slot: String,
        /// The last saved position.
        stored: Lsn,
        /// Where the logs part.
        fork: Fork,
    },
    /// A second worker of the stream reads from the slot, and has come further than this one: it took the stream over while this one was away.
    ///
    /// Remedy: nothing, if the other worker is the right one. Else end it, and begin anew: what it has read does not come again.
    #[error(
        "another worker has taken over replication slot `{slot}`: process {pid} reads from it, and has confirmed {confirmed}, \
         beyond {stored}, the last position saved here; this worker stops without writing anything more"
    )]
    TakenOver {
        /// The slot.
        slot: String,
        /// The server process that reads from it.
        pid: i32,
        /// Where the slot stands.
        confirmed: Lsn,
        /// The last saved position.
        stored: Lsn,
    },
    /// Another session streams from the slot: a second worker, or one whose connection the server has not given up yet.
    ///
    /// Remedy: nothing, if a worker has just ended: the server notices within `wal_sender_timeout`. Else end the other one; `SELECT
    /// pg_terminate_backend(<pid>)` ends its session.
    #[error(
        "replication slot `{slot}` is in use by process {pid}: wait until it ends; if it never does, \
         see who it is with `SELECT * FROM pg_stat_activity WHERE pid = {pid}`"
    )]
    InUse {
        /// The slot.
        slot: String,
        /// The server process.
        pid: i32,
    },
    /// The name belongs to a physical slot, as a standby uses it.
    ///
    /// Remedy: set another `slotName`.
    #[error(
        "replication slot `{slot}` is a physical one, and a stream needs a logical one: \
         set another `slotName`"
    )]
    Physical {
        /// The slot.
        slot: String,
    },
    /// The slot uses another output plugin.
    ///
    /// Remedy: set another `slotName`, or run the statement of the message when nobody needs the slot.
    #[error(
        "replication slot `{slot}` uses plugin `{plugin}`, and a stream needs `pgoutput`: \
         set another `slotName`, or run `{drop}` when nobody needs the slot"
    )]
    WrongPlugin {
        /// The slot.
        slot: String,
        /// Its plugin.
        plugin: String,
        /// The statement that removes it.
        drop: String,
    },
    /// The slot belongs to another database of the server.
    ///
    /// Remedy: set another `slotName`: slot names are shared by all databases of a server.
    #[error(
        "replication slot `{slot}` belongs to database `{database}`, and the stream reads \
         `{expected}`: slot names are shared by all databases of a server; set another `slotName`"
    )]
    OtherDatabase {
        /// The slot.
        slot: String,
        /// Its database.
        database: String,
        /// The database of the stream.
        expected: String,
    },
}

impl SlotProblem {
    /// Whether waiting may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }

    /// Whether changes are missing, so that the stream can go on with a new snapshot only.
    #[must_use]
    pub const fn needs_snapshot(&self) -> bool {
        match self {
            Self::Dropped { .. }
            | Self::Lost { .. }
            | Self::Unpublished { .. }
            | Self::Ahead { .. }
            | Self::Forked { .. }
            | Self::ServerBehind { .. } => true,
            Self::InUse { .. }
            | Self::TakenOver { .. }
            | Self::Physical { .. }
            | Self::WrongPlugin { .. }
            | Self::OtherDatabase { .. } => false,
        }
    }
}

/// Decides whether a stream can go on with its slot. No slot and no position is well: the slot is to
/// be created.
///
/// # Errors
///
/// The [`SlotProblem`] that weighs most; [`SlotProblem::InUse`] comes last, so that waiting is only
/// advised when it can help.
pub fn judge(state: Option<&SlotState>, expected: &Expected<'_>) -> Result<(), SlotProblem> {
    let slot = || expected.slot.to_owned();
    let server = expected.server;
    if let (Some(stored), Some(fork)) = (expected.stored, expected.fork)
        && stored > fork.at
    {
        return Err(SlotProblem::Forked { slot: slot(), stored, fork });
    }
    if let Some(stored) = expected.stored.filter(|&stored| stored > server) {
        return Err(SlotProblem::ServerBehind { slot: slot(), stored, server });
    }
    let Some(state) = state else {
        let gone = expected.stored.map(|stored| SlotProblem::Dropped { slot: slot(), stored });
        return gone.map_or(Ok(()), Err);
    };
    if state.slot_type == SlotType::Physical {
        return Err(SlotProblem::Physical { slot: slot() });
    }
    let plugin = state.plugin.clone().unwrap_or_default();
    if plugin != "pgoutput" {
        let drop = drop_sql(expected.slot);
        return Err(SlotProblem::WrongPlugin { slot: slot(), plugin, drop });
    }
    let database = state.database.clone().unwrap_or_default();
    if database != expected.database {
        let expected = expected.database.to_owned();
        return Err(SlotProblem::OtherDatabase { slot: slot(), database, expected });
    }
    if let Some((reason, remedy)) = lost(state) {
        let drop = drop_sql(expected.slot);
        return Err(SlotProblem::Lost { slot: slot(), reason, drop, remedy });
    }
    if let (Some(stored), Some(confirmed)) = (expected.stored, state.confirmed_flush)
        && confirmed > stored
    {
        // What a session of ours confirmed was saved before, even if the server has not noticed yet that we are gone.
        return Err(match state.active_pid {
            Some(pid) => SlotProblem::TakenOver { slot: slot(), pid, confirmed, stored },
            None => SlotProblem::Ahead { slot: slot(), confirmed, stored },
        });
    }
    match state.active_pid {
        Some(pid) => Err(SlotProblem::InUse { slot: slot(), pid }),
        None => Ok(()),
    }
}

/// The reason and the remedy, when the server gave the slot up.
fn lost(state: &SlotState) -> Option<(String, &'static str)> {
    let reason = match (&state.invalidation_reason, state.wal_status, state.conflicting) {
        (Some(reason), _, _) => reason.as_str(),
        (None, _, true) => "rows_removed",
        (None, Some(WalStatus::Lost), false) => "wal_removed",
        (None, Some(WalStatus::Reserved | WalStatus::Extended | WalStatus::Unreserved), false)
        | (None, None, false) => return None,
    };
    let remedy = match reason {
        "wal_removed" => "raise `max_slot_wal_keep_size`",
        "idle_timeout" => "raise `idle_replication_slot_timeout`",
        "rows_removed" => "set `hot_standby_feedback = on` on the standby",
        "wal_level_insufficient" => "set `wal_level = logical` on the primary",
        _ => "remove the cause",
    };
    Some((reason.to_owned(), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> SlotState {
        SlotState {
            name: "s".to_owned(),
            slot_type: SlotType::Logical,
            plugin: Some("pgoutput".to_owned()),
            database: Some("shop".to_owned()),
            active_pid: None,
            restart_lsn: Some(Lsn::new(50)),
            confirmed_flush: Some(Lsn::new(100)),
            wal_status: Some(WalStatus::Extended),
            safe_wal_size_bytes: None,
            invalidation_reason: None,
            conflicting: false,
            temporary: false,
            two_phase: false,
            failover: false,
        }
    }

    fn judged(state: Option<&SlotState>, stored: Option<u64>) -> String {
        let stored = stored.map(Lsn::new);
        let server = Lsn::new(200);
        let expected = Expected { slot: "s", database: "shop", stored, server, fork: None };
        judge(state, &expected).err().map(|problem| problem.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_slot_that_continues_its_position_is_well() {
        for stored in [None, Some(100), Some(101), Some(200)] {
            assert_eq!(judged(Some(&healthy()), stored), "");
        }
        assert_eq!(judged(None, None), "");
    }

    #[test]
    fn whatever_would_lose_changes_is_named() {
        let reason =
            |reason: &str| SlotState { invalidation_reason: Some(reason.to_owned()), ..healthy() };
        let cases = [
            (None, Some(100), "is gone, and the changes after 0/64"),
            (Some(healthy()), Some(99), "stands at 0/64, beyond 0/63"),
            (
                Some(SlotState { active_pid: Some(7), ..healthy() }),
                Some(99),
                "another worker has taken over replication slot `s`: process 7",
            ),
            (Some(healthy()), Some(201), "log ends at 0/C8"),
            (None, Some(201), "log ends at 0/C8"),
            (
                Some(SlotState { wal_status: Some(WalStatus::Lost), ..healthy() }),
                Some(100),
                "lost (wal_removed), and the changes after its last position with it: run \
                 `SELECT pg_drop_replication_slot('s')`, raise `max_slot_wal_keep_size`",
            ),
            (Some(reason("idle_timeout")), None, "raise `idle_replication_slot_timeout`"),
            (Some(reason("wal_level_insufficient")), None, "set `wal_level = logical`"),
            (Some(reason("a_new_one")), None, "lost (a_new_one)"),
            (
                Some(SlotState { conflicting: true, ..healthy() }),
                None,
                "set `hot_standby_feedback = on`",
            ),
            (
                Some(SlotState { plugin: Some("wal2json".to_owned()), ..healthy() }),
                None,
                "uses plugin `wal2json`",
            ),
            (
                Some(SlotState { database: Some("other".to_owned()), ..healthy() }),
                None,
                "belongs to database `other`, and the stream reads `shop`",
            ),
            (
                Some(SlotState { slot_type: SlotType::Physical, ..healthy() }),
                None,
                "is a physical one",
            ),
        ];
        for (state, stored, expected) in cases {
            let message = judged(state.as_ref(), stored);
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
    }

    #[test]
    fn a_promoted_server_is_gone_on_with_only_while_it_has_all_that_was_read() {
        let history = "1\t0/64\tno recovery target specified\n\n2\t0/96\tbefore x\n";
        for (saved, timeline, stored, goes_on) in [
            (2, 3, 150, true),
            (2, 3, 151, false),
            // What came on the first timeline after the second began is not known to the third.
            (1, 3, 100, true),
            (1, 3, 101, false),
            // The old primary came back.
            (4, 3, 151, false),
        ] {
            let fork = Some(Fork::new(history, saved, timeline));
            let (stored, server) = (Some(Lsn::new(stored)), Lsn::new(500));
            let expected = Expected { slot: "s", database: "shop", stored, server, fork };
            let judged = judge(Some(&healthy()), &expected);
            assert_eq!(judged.is_ok(), goes_on, "{saved} {timeline} {stored:?}: {judged:?}");
        }
        let unknown = Fork::new("", 2, 1);
        assert_eq!(unknown.at, Lsn::default());
    }

    #[test]
    fn waiting_is_advised_only_when_it_helps() {
        let busy = SlotState { active_pid: Some(7), ..healthy() };
        let server = Lsn::new(200);
        let expected = Expected { slot: "s", database: "shop", stored: None, server, fork: None };
        let problem = judge(Some(&busy), &expected).unwrap_err();
        assert_eq!(problem, SlotProblem::InUse { slot: "s".to_owned(), pid: 7 });
        assert!(problem.is_retryable());
        let lost = SlotState { wal_status: Some(WalStatus::Lost), ..busy };
        assert!(!judge(Some(&lost), &expected).unwrap_err().is_retryable());
    }
}
