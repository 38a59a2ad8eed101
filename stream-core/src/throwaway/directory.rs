//! Directories that the server's user can reach.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::ServerError;
use super::account::Account;

/// Creates `wanted`, or its stand-in where the server's user cannot get there.
///
/// Only root has a stand-in: its servers run under another user, who cannot pass through, say,
/// `/root`. It lies in the system's directory for temporary files, under a name that the wanted
/// path alone decides, so that the next call finds it again. Returns the path without links.
///
/// # Errors
///
/// [`ServerError::Io`] when the directory cannot be made, or when the stand-in is another user's.
pub fn reachable_directory(wanted: &Path) -> Result<PathBuf, ServerError> {
    let account = Account::for_servers()?;
    let wanted = std::path::absolute(wanted).map_err(ServerError::io(wanted))?;
    let parent = wanted.parent().unwrap_or(&wanted);
    fs::create_dir_all(parent).map_err(ServerError::io(parent))?;
    let directory = if account.may_enter(parent)? { wanted } else { stand_in(&wanted, account)? };
    fs::create_dir_all(&directory).map_err(ServerError::io(&directory))?;
    directory.canonicalize().map_err(ServerError::io(&directory))
}

/// Creates a new directory for a temporary server, of the server's user and closed to others.
pub(super) fn temporary(account: Account) -> Result<PathBuf, ServerError> {
    let directory = temp_root(account)?.join(format!("stream-postgres-{}", random_hex()?));
    create_private(&directory)?;
    account.own(&directory)?;
    directory.canonicalize().map_err(ServerError::io(&directory))
}

/// Makes an existing directory the server user's, closed to others.
pub(super) fn close(directory: &Path, account: Account) -> Result<(), ServerError> {
    account.own(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
        .map_err(ServerError::io(directory))
}

/// Takes the directory for this process, until the file is closed.
pub(super) fn lock(home: &Path) -> Result<File, ServerError> {
    let path = home.join("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(ServerError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServerError::InUse { path: home.to_owned() }),
        Err(TryLockError::Error(source)) => Err(ServerError::Io { path, source }),
    }
}

/// 128 bits from the system's source of randomness.
pub(super) fn random_hex() -> Result<String, ServerError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(ServerError::io(source))?;
    Ok(hex(&bytes))
}

fn stand_in(wanted: &Path, account: Account) -> Result<PathBuf, ServerError> {
    let digest = Sha256::digest(wanted.as_os_str().as_encoded_bytes());
    let name = hex(digest.get(..8).unwrap_or(&digest));
    let directory = temp_root(account)?.join(format!("stream-postgres-{name}"));
    match create_private(&directory) {
        Err(ServerError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.map(|()| directory),
    }
    // Everybody can guess the name, so whoever made the directory has to be one of us.
    let metadata = fs::symlink_metadata(&directory).map_err(ServerError::io(&directory))?;
    let ours = match account {
        Account::Own => metadata.uid() == rustix::process::geteuid().as_raw(),
        Account::Other { uid, .. } => [0, uid].contains(&metadata.uid()),
    };
    if metadata.is_dir() && ours {
        return Ok(directory);
    }
    let source = io::Error::other(format!(
        "it stands in for `{}`, but belongs to another user: remove it",
        wanted.display()
    ));
    Err(ServerError::Io { path: directory, source })
}

/// The system's directory for temporary files, unless it is one that only root can use.
fn temp_root(account: Account) -> Result<PathBuf, ServerError> {
    let directory = std::env::temp_dir();
    Ok(if account.may_write(&directory)? { directory } else { PathBuf::from("/tmp") })
}

fn create_private(directory: &Path) -> Result<(), ServerError> {
    DirBuilder::new().mode(0o700).create(directory).map_err(ServerError::io(directory))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
