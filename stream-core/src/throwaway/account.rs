//! The user that server processes run under: PostgreSQL refuses to run as root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::ServerError;

/// Where shells find the system's programs.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Whom server processes, and the files they own, belong to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Account {
    /// The user of this process.
    Own,
    /// Another user, because this process is root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// The own user; for root, `postgres`, or `nobody` where there is no such user.
    pub(super) fn for_servers() -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let user = if id("-u", "postgres").is_ok() { "postgres" } else { "nobody" };
        Ok(Self::Other { uid: id("-u", user)?, gid: id("-g", user)? })
    }

    /// A command that runs under this account.
    ///
    /// Supplementary groups go too: the standard library clears them when root changes the user.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        // Another user's processes must not carry what the environment of this one may hold, such as passwords.
        command.env_clear().env("PATH", SEARCH_PATH).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Gives a file or directory to this account.
    pub(super) fn own(self, path: &Path) -> Result<(), ServerError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).map_err(ServerError::io(path))
            }
        }
    }

    /// Whether this account may pass through `directory`.
    pub(super) fn may_enter(self, directory: &Path) -> Result<bool, ServerError> {
        self.succeeds("cd -- \"$1\"", directory)
    }

    /// Whether this account may create and delete files in `directory`.
    pub(super) fn may_write(self, directory: &Path) -> Result<bool, ServerError> {
        self.succeeds("cd -- \"$1\" && test -w .", directory)
    }

    fn succeeds(self, script: &str, directory: &Path) -> Result<bool, ServerError> {
        let shell = Path::new("sh");
        let mut command = self.command(shell);
        command.args(["-c", script, "sh"]).arg(directory).current_dir("/").stderr(Stdio::null());
        Ok(command.status().map_err(ServerError::io(shell))?.success())
    }
}

fn id(flag: &str, user: &str) -> Result<u32, ServerError> {
    let program = Path::new("id");
    let output =
        Command::new(program).args([flag, user]).output().map_err(ServerError::io(program))?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    answer.parse().map_err(|_| ServerError::Io {
        path: program.to_owned(),
        source: std::io::Error::other(format!("`id {flag} {user}` gave no number: `{answer}`")),
    })
}
