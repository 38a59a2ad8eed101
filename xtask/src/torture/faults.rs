//! What goes wrong in a run, and when: drawn from the seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use stream_core::failpoint::Step;

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Schema import and copy.
    Snapshot,
    /// From the end of the copy until indexes and constraints are built and the log is followed.
    Handover,
    /// The log is followed, and nobody asks for an end.
    Stream,
    /// From the order to complete until slot and publication are gone.
    Finishing,
}

impl Phase {
    pub(super) const ALL: [Self; 4] =
        [Self::Snapshot, Self::Handover, Self::Stream, Self::Finishing];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Snapshot => "snapshot",
            Self::Handover => "handover",
            Self::Stream => "stream",
            Self::Finishing => "finishing",
        })
    }
}

/// One of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Target,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// `SIGKILL` to the worker.
    Kill,
    /// `SIGTERM` to the worker.
    Terminate,
    /// `SIGSTOP`, and later `SIGCONT`, to the worker.
    Pause(Duration),
    /// The worker is stopped, another one starts, and the first goes on.
    Second,
    /// The worker dies at a step, when it comes by for the nth time.
    Die(Step, u64),
    /// `SIGKILL` to the server, and a restart.
    Crash(End),
    /// A fast shutdown, and a restart.
    Restart(End),
    /// Connections break once the server has sent so many bytes more.
    Reset(End, u32),
    /// Nothing passes for a while.
    Stall(End, Duration),
    /// `pg_terminate_backend` for all sessions of the worker.
    EndSessions(End),
    /// `pg_cancel_backend` for the worker's sessions at the target.
    CancelStatements,
    /// The target is a standby for a while, which takes no write.
    ReadOnly(Duration),
    /// Another session locks tables of the target for a while.
    Lock(Duration),
    /// No byte more fits onto the target's disk for a while.
    DiskFull(Duration),
}

/// The names in the table of results, in its order.
pub(super) const NAMES: [&str; 18] = [
    "worker: SIGKILL",
    "worker: SIGTERM",
    "worker: SIGSTOP, SIGCONT",
    "worker: a second one",
    "worker: dies at a step",
    "source: SIGKILL",
    "target: SIGKILL",
    "source: restart",
    "target: restart",
    "source: connections reset",
    "target: connections reset",
    "source: network stalls",
    "target: network stalls",
    "source: sessions ended",
    "target: sessions ended",
    "target: statements cancelled",
    "target: read-only, locked",
    "target: disk full",
];

impl Fault {
    /// Its name in the table of results.
    pub(super) const fn name(self) -> &'static str {
        let [kill, terminate, pause, second, die, rest @ ..] = NAMES;
        let [crash_s, crash_t, restart_s, restart_t, reset_s, reset_t, stall_s, stall_t, rest @ ..] =
            rest;
        let [end_s, end_t, cancel, read_only, full] = rest;
        match self {
            Self::Kill => kill,
            Self::Terminate => terminate,
            Self::Pause(_) => pause,
            Self::Second => second,
            Self::Die(..) => die,
            Self::Crash(End::Source) => crash_s,
            Self::Crash(End::Target) => crash_t,
            Self::Restart(End::Source) => restart_s,
            Self::Restart(End::Target) => restart_t,
            Self::Reset(End::Source, _) => reset_s,
            Self::Reset(End::Target, _) => reset_t,
            Self::Stall(End::Source, _) => stall_s,
            Self::Stall(End::Target, _) => stall_t,
            Self::EndSessions(End::Source) => end_s,
            Self::EndSessions(End::Target) => end_t,
            Self::CancelStatements => cancel,
            Self::ReadOnly(_) | Self::Lock(_) => read_only,
            Self::DiskFull(_) => full,
        }
    }

    /// Whether a stream to an endpoint can meet it: no target server, no session at one.
    pub(super) fn is_met_by_events(self) -> bool {
        match self {
            Self::Kill | Self::Terminate | Self::Pause(_) => true,
            Self::Crash(end) | Self::Restart(end) | Self::EndSessions(end) => end == End::Source,
            Self::Reset(end, _) | Self::Stall(end, _) => end == End::Source,
            Self::Die(step, _) => {
                ![Step::ChunkCopied, Step::Built, Step::BuildCommitted, Step::Applied]
                    .contains(&step)
            }
            Self::Second
            | Self::CancelStatements
            | Self::ReadOnly(_)
            | Self::Lock(_)
            | Self::DiskFull(_) => false,
        }
    }

    fn drawn(random: &mut Rng, phase: Phase) -> Self {
        let end = if random.bool() { End::Source } else { End::Target };
        let briefly = Duration::from_millis(random.u64(100..1500));
        // Longer than the servers wait for a sign of life.
        let long = Duration::from_millis(random.u64(2500..3500));
        match random.u8(0..20) {
            0..3 => Self::Kill,
            3 => Self::Terminate,
            4 => Self::Pause(if random.bool() { long } else { briefly }),
            5 => Self::Second,
            6..11 => Self::die(random, phase),
            11 => Self::Crash(end),
            12 => Self::Restart(end),
            13 | 14 => {
                let most = 1 << random.u32(1..22);
                Self::Reset(end, random.u32(0..most))
            }
            15 => Self::Stall(end, if random.bool() { long } else { briefly }),
            16 => Self::EndSessions(end),
            17 => Self::CancelStatements,
            18 => Self::DiskFull(briefly),
            _ if random.bool() => Self::ReadOnly(briefly),
            _ => Self::Lock(briefly),
        }
    }

    /// Death at one of the steps of `phase`.
    fn die(random: &mut Rng, phase: Phase) -> Self {
        let (steps, most): (&[Step], _) = match phase {
            Phase::Snapshot => (
                &[
                    Step::Prepared,
                    Step::SlotMade,
                    Step::StartSaved,
                    Step::ChunkCopied,
                    Step::ChunkCommitted,
                    Step::TableSaved,
                ],
                12,
            ),
            Phase::Handover => (&[Step::Built, Step::BuildCommitted, Step::Started], 10),
            Phase::Stream => (
                &[
                    Step::Received,
                    Step::Received,
                    Step::Sent,
                    Step::Applied,
                    Step::Written,
                    Step::Saved,
                    Step::Confirming,
                    Step::Confirmed,
                ],
                8,
            ),
            Phase::Finishing => (
                &[
                    Step::Applied,
                    Step::Finished,
                    Step::DeliveredSaved,
                    Step::Removed,
                    Step::CompletedSaved,
                ],
                1,
            ),
        };
        let step = steps.get(random.usize(0..steps.len())).copied().unwrap_or(Step::Started);
        let once = [Step::Prepared, Step::SlotMade, Step::StartSaved, Step::Started];
        let times = match step {
            Step::Received => random.u64(1..=200),
            step if once.contains(&step) => 1,
            _ => random.u64(1..=most),
        };
        Self::Die(step, times)
    }
}

/// A fault and its moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) fault: Fault,
    /// When the worker is seen in this phase, or beyond …
    pub(super) phase: Phase,
    /// … and so many transactions more are committed; in [`Phase::Finishing`], where nobody writes: so many
    /// milliseconds later.
    pub(super) after: u64,
}

/// How often a fault is drawn again that is not wanted.
const DRAWS: usize = 1000;

/// The faults of a run, of those that are `wanted`.
pub(super) fn plan(random: &mut Rng, wanted: impl Fn(Fault) -> bool) -> Vec<Planned> {
    let mut phases = vec![Phase::Snapshot; random.usize(1..3)];
    phases.extend(vec![Phase::Handover; random.usize(0..3)]);
    phases.extend(vec![Phase::Stream; random.usize(2..4)]);
    phases.extend(vec![Phase::Finishing; random.usize(0..3)]);
    let mut planned = |phase| {
        let after = match phase {
            Phase::Snapshot => random.u64(0..120),
            Phase::Handover => random.u64(0..30),
            Phase::Stream => random.u64(0..250),
            Phase::Finishing => random.u64(0..1200),
        };
        let mut drawn = (0..DRAWS).map(|_| Fault::drawn(random, phase));
        let fault = drawn.find(|fault| wanted(*fault))?;
        Some(Planned { fault, phase, after })
    };
    phases.into_iter().filter_map(&mut planned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wanted_faults_come_up() {
        for seed in 0..100 {
            let plan = plan(&mut Rng::with_seed(seed), |fault| fault.name() == "worker: SIGKILL");
            assert!(plan.len() >= 3, "{plan:?}");
            assert!(plan.iter().all(|planned| planned.fault == Fault::Kill), "{plan:?}");
        }
    }

    #[test]
    fn every_fault_comes_up_in_every_phase() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            for Planned { fault, phase, .. } in plan(&mut Rng::with_seed(seed), |_| true) {
                seen.insert((fault.name(), phase));
            }
        }
        assert_eq!(seen.len(), NAMES.len() * Phase::ALL.len());
    }
}
