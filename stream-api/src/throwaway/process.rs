//! One program of a control plane, on a leash that kills it with its owner.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::ControlPlaneError;

/// Lines of a log that an error carries.
const LOG_LINES: usize = 15;
/// How often a waiting loop looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A shell's way of becoming the program, with a second shell left behind on the leash.
///
/// `$$` is the program's own process id, since the first shell turns into it. A line on the leash
/// lets the program go; the end of the leash without a line means that the owner is gone.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
home=$1
shift
((read -r _ <&3 || { kill -9 $$ 2>/dev/null; rm -rf -- "$home"; }) &)
exec "$@" 3<&-
"#;

/// A running program and its leash.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    log: PathBuf,
    child: Child,
    leash: ChildStdin,
}

impl Process {
    /// Starts `program` in `home`, a directory that is deleted when the owner is killed.
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        home: &Path,
    ) -> Result<Self, ControlPlaneError> {
        let log = home.join(format!("{name}.log"));
        let file = File::create(&log).map_err(ControlPlaneError::io(&log))?;
        let errors = file.try_clone().map_err(ControlPlaneError::io(&log))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]).arg(home).arg(program).args(arguments).current_dir(home);
        // What the environment holds, such as passwords and proxies, is not for these programs.
        shell.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        // A group of its own, so that Ctrl-C at the terminal does not reach it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(file).stderr(errors);
        let mut child = shell.spawn().map_err(ControlPlaneError::io(program))?;
        match child.stdin.take() {
            Some(leash) => Ok(Self { name, log, child, leash }),
            None => Err(ControlPlaneError::Io {
                path: program.to_owned(),
                source: io::Error::other("the shell has no standard input"),
            }),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `Err` with the end of the log when the program has ended.
    pub(super) fn check(&mut self) -> Result<(), ControlPlaneError> {
        match self.child.try_wait().map_err(ControlPlaneError::io(&self.log))? {
            Some(status) => Err(self.failure(format!("ended at once ({status})"))),
            None => Ok(()),
        }
    }

    /// What is said about a program that does not work.
    pub(super) fn failure(&self, reason: String) -> ControlPlaneError {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        ControlPlaneError::Start { program: self.name, reason, log: last.join("\n") }
    }

    /// Takes the program off the leash: it lives on.
    pub(super) fn let_go(&mut self) -> io::Result<()> {
        self.leash.write_all(b"\n")
    }

    /// Kills the program and waits for its end: nothing of it is to be kept.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        // An error means that the shell on the leash is gone as well, which is as good.
        let _ = self.let_go();
        Ok(())
    }
}

/// Kills process `pid` and waits for its end, if it is a program that works in `home`.
pub(super) fn kill_working_in(home: &Path, pid: i32) -> io::Result<()> {
    let Some(id) = Pid::from_raw(pid) else { return Ok(()) };
    while works_in(home, pid) {
        match rustix::process::kill_process(id, Signal::KILL) {
            Err(error) if error != rustix::io::Errno::SRCH => return Err(error.into()),
            _ => thread::sleep(POLL_INTERVAL),
        }
    }
    Ok(())
}

/// Whether process `pid` is a program that works in `home`: the number may have gone to another.
pub(super) fn works_in(home: &Path, pid: i32) -> bool {
    let Ok(home) = home.canonicalize() else { return false };
    if Path::new("/proc/self/cwd").exists() {
        return fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == home);
    }
    let arguments = ["-a", "-d", "cwd", "-F", "n", "-p", &pid.to_string()];
    let listed = Command::new("lsof").args(arguments).output();
    listed.is_ok_and(|output| {
        let wanted = format!("n{}", home.display());
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line == wanted)
    })
}
