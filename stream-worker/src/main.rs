//! `stream-worker`: runs one stream.

mod args;
mod compose;
mod config;
mod local;
mod resolve;
mod show;
mod supervise;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(args::Task::Local(local)) => local::main(local),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(supervise::BAD_INPUT)
        }
    }
}
