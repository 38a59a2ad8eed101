//! Starts a server and waits to be killed: `throwaway_owner BIN_DIR [DATA_DIR]`.
//!
//! Prints the server's process id and directory on one line, then reads its input to the end.

use std::path::{Path, PathBuf};

use stream_core::throwaway::{Binaries, Server, ServerOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let binaries = Binaries::at(Path::new(&arguments.next().ok_or("no directory of binaries")?))?;
    let server = Server::start(match arguments.next() {
        Some(directory) => ServerOptions::kept(binaries, PathBuf::from(directory)),
        None => ServerOptions::temporary(binaries),
    })?;
    println!("{} {}", server.pid().unwrap_or_default(), server.data_dir().display());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
