//! The server's process: started on a leash, watched while it starts, stopped by signal.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// A shell's way of becoming the server, with a second shell left behind on the leash.
///
/// `$$` is the server's own process id, since the first shell turns into the server. The second
/// one is orphaned at once, lest the server find a child it did not start. A line on the leash
/// sends it home; the end of the leash without a line means that the owner is gone.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
signal=$1 remove=$2
shift 2
alive() { kill -0 $$ 2>/dev/null; }
(
    (
        read -r word <&3 && exit
        kill -s "$signal" $$ 2>/dev/null
        n=0
        while alive && [ $n -lt 200 ]; do sleep 0.1; n=$((n + 1)); done
        alive && kill -s QUIT $$ && sleep 2
        [ -z "$remove" ] || rm -rf -- "$remove"
    ) &
)
exec "$@" 3<&-
"#;

/// How often a waiting loop looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A server process and the leash that ends it with its owner.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    leash: ChildStdin,
}

impl Process {
    /// Starts `server` so that it gets `signal` when this process ends, after which `remove` is
    /// deleted.
    pub(super) fn start(
        mut shell: Command,
        server: &[String],
        signal: &str,
        remove: Option<&Path>,
        log: File,
    ) -> std::io::Result<Self> {
        shell.args(["-c", SCRIPT, "sh", signal]).arg(remove.unwrap_or(Path::new("")));
        // A group of its own, so that Ctrl-C at the terminal leaves the order of stopping to us.
        shell.args(server).process_group(0);
        shell.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut child = shell.spawn()?;
        match child.stdin.take() {
            Some(leash) => Ok(Self { child, leash }),
            None => Err(std::io::Error::other("the shell has no standard input")),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `postmaster.pid` says that this server takes connections; `Err` says why not.
    ///
    /// Source: `pg_ctl --wait` reads the same file, whose eighth line is the state.
    pub(super) fn wait_ready(&mut self, data: &Path, deadline: Instant) -> Result<(), String> {
        loop {
            match self.child.try_wait() {
                Err(error) => return Err(format!("cannot be watched: {error}")),
                Ok(Some(status)) => return Err(format!("ended at once ({status})")),
                Ok(None) => {}
            }
            let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let mut lines = pid_file.lines();
            let own = lines.next() == Some(&self.pid().to_string());
            if own && lines.nth(6).is_some_and(|state| state.trim_end() == "ready") {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err("was not ready in time".to_owned());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// The processes that the server has started, where the system tells.
    fn children(&self) -> Vec<Pid> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }

    /// Sends `signal` and waits for the end; a server that takes longer than `patience` is killed.
    pub(super) fn stop(mut self, signal: Signal, patience: Duration) -> std::io::Result<()> {
        let mut deadline = Instant::now() + patience;
        let mut next = [signal, Signal::QUIT, Signal::KILL].into_iter();
        loop {
            if self.child.try_wait()?.is_some() {
                // An error means that the shell on the leash is gone as well, which is as good.
                let _ = self.leash.write_all(b"\n");
                return Ok(());
            }
            let first = next.len() == 3;
            if (first || Instant::now() >= deadline)
                && let Some(signal) = next.next()
            {
                let killed = if signal == Signal::KILL { self.children() } else { Vec::new() };
                rustix::process::kill_process(Pid::from_child(&self.child), signal)?;
                for child in killed {
                    // It may not notice before its statement ends, and no server can start in its place until then.
                    let _ = rustix::process::kill_process(child, signal);
                }
                deadline = Instant::now() + patience;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Stops the server that an owner killed hard left in `data`, if it has not ended by itself yet.
///
/// The caller holds the directory's lock, so whatever runs there has no owner any more.
pub(super) fn stop_stale(data: &Path, patience: Duration) -> std::io::Result<()> {
    let Some(pid) = fs::read_to_string(data.join("postmaster.pid"))
        .ok()
        .and_then(|text| Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
    else {
        return Ok(());
    };
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        if !serves(pid, data) {
            return Ok(());
        }
        rustix::process::kill_process(pid, signal)?;
        let deadline = Instant::now() + patience;
        while serves(pid, data) && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
    }
    Ok(())
}

/// Whether process `pid` is the server of `data`: the number may have gone to another process.
fn serves(pid: Pid, data: &Path) -> bool {
    let pid = pid.as_raw_nonzero();
    if Path::new("/proc/self/cwd").exists() {
        // A server works in its data directory.
        return fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == data);
    }
    let listed = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    listed.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains(&*data.to_string_lossy())
    })
}
