//! `stream-worker`: runs one stream, or looks for mistakes in some.

mod args;
mod compose;
mod config;
mod files;
mod local;
mod resolve;
mod show;
mod supervise;
mod validate;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(args::Task::Local(local)) => local::main(local),
        Ok(args::Task::Validate(validate)) => validate::main(&validate),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(supervise::BAD_INPUT)
        }
    }
}
