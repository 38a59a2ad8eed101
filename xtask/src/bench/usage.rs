//! What processes have used, as `/proc` tells it. All is 0 on systems without one.

use std::fs;

/// Clock ticks in a second: Linux shows user space this many, whatever its own clock does.
const TICKS: f64 = 100.0;

/// CPU seconds used so far, of everybody there is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    /// The source server with its sessions.
    pub(super) source: f64,
    /// The target server with its sessions.
    pub(super) target: f64,
    /// The whole machine.
    machine: f64,
    /// This process and the children that have ended.
    own: f64,
}

impl Cpu {
    /// What was used up to now, by servers with these postmasters.
    pub(super) fn now(source: u32, target: u32) -> Self {
        Self { source: family(source), target: family(target), machine: machine(), own: own() }
    }

    /// What was used since `earlier`, when a process of ours that still runs has used `running`. The rest
    /// of the machine's: noise.
    pub(super) fn since(self, earlier: Self, running: f64) -> Spent {
        let source = self.source - earlier.source;
        let target = self.target - earlier.target;
        let own = self.own - earlier.own + running;
        let others = (self.machine - earlier.machine - source - target - own).max(0.0);
        Spent { source, target, others }
    }
}

/// CPU seconds of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Of the source server.
    pub(super) source: f64,
    /// Of the target server.
    pub(super) target: f64,
    /// Of everybody who has nothing to do with it, the kernel's threads included.
    pub(super) others: f64,
}

/// What one process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// CPU seconds, with those of children that have ended.
    pub(super) cpu: f64,
    /// The most memory it ever had, bytes.
    pub(super) peak: u64,
    /// The memory it has now, bytes.
    pub(super) resident: u64,
}

/// What process `pid` has used; `None` once it has ended.
pub(super) fn used(pid: u32) -> Option<Used> {
    let stat = Stat::read(&pid.to_string())?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // A process that has ended has no memory, though its CPU time is still there.
    let peak = kibibytes(&status, "VmHWM:")?;
    let resident = kibibytes(&status, "VmRSS:")?;
    Some(Used { cpu: stat.own + stat.children, peak: peak << 10, resident: resident << 10 })
}

/// The 1-minute load average, as the system prints it.
pub(super) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// CPU seconds of this process's children that have ended.
pub(super) fn ended_children() -> f64 {
    Stat::read("self").map_or(0.0, |stat| stat.children)
}

fn own() -> f64 {
    Stat::read("self").map_or(0.0, |stat| stat.own + stat.children)
}

/// A postmaster and all its children: what ended ones have used is the postmaster's.
fn family(postmaster: u32) -> f64 {
    let Some(mut head) = Stat::read(&postmaster.to_string()) else { return 0.0 };
    loop {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let children: f64 = processes
            .filter_map(|entry| Stat::read(entry.file_name().to_str()?))
            .filter(|stat| stat.parent == postmaster)
            .map(|stat| stat.own)
            .sum();
        // A child that ended meanwhile may have been seen by both, or by neither.
        match Stat::read(&postmaster.to_string()) {
            Some(now) if now.children > head.children => head = now,
            _ => return head.own + head.children + children,
        }
    }
}

/// The machine's busy time: everything but idle, waiting for disks, and stolen by other machines.
fn machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let numbers: Vec<f64> = numbers.filter_map(|number| number.parse().ok()).collect();
    // user, nice, system; idle, iowait; irq, softirq; steal, …
    match numbers.as_slice() {
        [user, nice, system, _, _, irq, softirq, ..] => {
            (user + nice + system + irq + softirq) / TICKS
        }
        _ => 0.0,
    }
}

/// What is of use in `/proc/PID/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    own: f64,
    children: f64,
}

impl Stat {
    fn read(process: &str) -> Option<Self> {
        process.starts_with(|c: char| c.is_ascii_digit() || c == 's').then_some(())?;
        Self::parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses, and can hold some itself.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: (ticks(11)? + ticks(12)?) / TICKS,
            children: (ticks(13)? + ticks(14)?) / TICKS,
        })
    }
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces_and_parentheses() {
        let text = "42 (a) b) S 7 42 42 0 -1 4194304 100 0 0 0 150 50 30 20 20 0 1 0 99 1 1";
        let expected = Stat { parent: 7, own: 2.0, children: 0.5 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("42 (a"), None);
    }
}
