//! Files and directories that the command line names.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use stream_core::throwaway;
use stream_core::{Error, ErrorKind};

use crate::args;

/// Reads files, each with its name. Those that are not there, or that this user may not read, are told all at once.
///
/// Remedy: correct the path, or the file's rights.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Error> {
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.display().to_string();
        let text = if args::is_standard_input(path.as_os_str()) {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            fs::read_to_string(path)
        };
        match text {
            Ok(text) => files.push((name, text)),
            Err(error) => unreadable.push(format!(
                "cannot read `{name}`: {error}; name a YAML file that this user can read"
            )),
        }
    }
    if unreadable.is_empty() {
        return Ok(files);
    }
    Err(Error::new(ErrorKind::Configuration, unreadable.join("\n")))
}

/// The files are YAML, but none of them has a stream.
///
/// Remedy: name the file that has it, with `-f`.
pub(crate) fn no_stream() -> Error {
    Error::new(
        ErrorKind::Configuration,
        "no document is an SGStream: add one to the files, or name its file with `-f`",
    )
}

/// Where `pg_dump` is looked for: in the directories of `program_path`, and where servers are installed.
pub(crate) fn program_directories(program_path: &OsStr) -> Vec<PathBuf> {
    let mut directories = throwaway::directories(Some(program_path));
    let mut seen = HashSet::new();
    directories.retain(|directory| seen.insert(directory.clone()));
    directories
}
