//! Starts a control plane and waits to be killed: `control_plane_owner`.
//!
//! Prints the process ids and the directory on one line, then reads its input to the end.

use stream_api::throwaway::testing;

fn main() -> std::io::Result<()> {
    let control_plane = testing::private_control_plane();
    let pids: Vec<_> = control_plane.pids().map(|pid| pid.to_string()).collect();
    println!("{} {}", pids.join(" "), control_plane.home().display());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
