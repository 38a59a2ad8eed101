//! `stream-operator`: not there yet. Says so, and what runs a stream meanwhile.

use std::process::ExitCode;

/// The command was understood, and cannot be carried out.
const UNSUPPORTED: u8 = 2;

const HELP: &str = "\
stream-operator: will run SGStream resources in Kubernetes; this version cannot yet

Run a stream on this machine instead, from the same YAML:

    stream-worker local -f FILE…

Options:
  -h, --help     Print help
  -V, --version  Print version";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("-h" | "--help") => println!("{HELP}"),
        Some("-V" | "--version") => println!("stream-operator {}", env!("CARGO_PKG_VERSION")),
        Some(_) | None => {
            eprintln!(
                "error: the operator is not there yet: run the stream on this machine with \
                 `stream-worker local -f FILE…`"
            );
            return ExitCode::from(UNSUPPORTED);
        }
    }
    ExitCode::SUCCESS
}
