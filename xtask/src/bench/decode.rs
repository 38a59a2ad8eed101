//! A backlog that is decoded and thrown away: how fast the source's side can be.
//!
//! The anchor is `pg_recvlogical`, which writes to `/dev/null` what it does not look at.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::Bench;
use super::report::{Bars, Line};
use super::stream::Load;

const PUBLISH: &str = "CREATE PUBLICATION discard FOR TABLE public.w";
/// Something behind the backlog, so that whoever has all of it is told so; and all of it written.
const END: &str = "SELECT pg_logical_emit_message(true, 'bench', 'end')";

/// Times both on slots of their own over the same log.
pub(super) fn discard(bench: &Bench, name: &str, load: &Load) -> Result<Line> {
    load.prepare(bench)?;
    bench.source.execute([PUBLISH])?;
    for side in ["anchor", "ours"] {
        for round in 1..=bench.runs {
            let create = "SELECT pg_create_logical_replication_slot";
            bench.source.text(&format!("{create}('{side}_{round}', 'pgoutput')"))?;
        }
    }
    load.run(bench)?;
    bench.source.text(END)?;
    let end = bench.source.text("SELECT pg_current_wal_lsn()")?;
    let (anchor, ours) = bench.rounds(
        |round| {
            let mut receive = bench.source.client("pg_recvlogical")?;
            receive.args(["--slot", &format!("anchor_{round}"), "--dbname", "bench", "--start"]);
            receive.args(["--option", "proto_version=1", "--option", "binary=true"]);
            receive.args(["--option", "publication_names=discard"]);
            receive.args(["--endpos", &end, "--no-loop", "--file", "-"]).stdout(Stdio::null());
            let meter = bench.ready()?;
            let start = Instant::now();
            let status = receive.status()?;
            ensure!(status.success(), "`pg_recvlogical` failed ({status})");
            Ok(meter.clients(start.elapsed()))
        },
        |round| {
            let slot = format!("ours_{round}");
            let discard = bench.programs.discard(&bench.source, &slot, "discard");
            let meter = bench.ready()?;
            Ok(meter.ended(bench.programs.start(discard)?.ends()?))
        },
    )?;
    let bars = Bars { ratio: Some(0.9), ..Bars::default() };
    Ok(Line { name: name.to_owned(), rows: Some(load.rows), anchor, ours, bars })
}
