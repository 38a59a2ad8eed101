//! `slotStreamParams` in the engine's words.

use std::collections::BTreeMap;
use std::path::Path;

use stream_core::postgres::{PluginOptions, Streaming};

use super::problem::Found;

/// What the plugin is asked for; where things are kept comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plugin {
    proto_version: Option<u8>,
    streaming: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Off,
    On,
    Parallel,
}

impl Plugin {
    /// The options for a worker that keeps its files in `directory`.
    pub(super) fn options(self, directory: &Path) -> PluginOptions {
        let in_progress = |parallel| {
            let directory = directory.join("in-progress");
            Streaming::InProgress { directory, parallel }
        };
        let streaming = match self.streaming {
            Written::Off => Streaming::Committed,
            Written::On => in_progress(false),
            Written::Parallel => in_progress(true),
        };
        PluginOptions { proto_version: self.proto_version, streaming }
    }
}

/// Reads the parameters at `path`; adds to `found` what cannot be used.
pub(super) fn read(
    parameters: &BTreeMap<String, String>,
    path: &str,
    found: &mut Found,
) -> Option<Plugin> {
    let mut plugin = Plugin { proto_version: None, streaming: Written::Off };
    let mut mistakes = Vec::new();
    for (name, value) in parameters {
        let read = match name.as_str() {
            "proto_version" => version(value).map(|version| plugin.proto_version = Some(version)),
            "streaming" => streaming(value).map(|streaming| plugin.streaming = streaming),
            _ => Err("is set by the engine itself, or not known: remove it; there are `proto_version` and `streaming`".to_owned()),
        };
        mistakes.extend(read.err().map(|mistake| (name, mistake)));
    }
    let (lowest, wish) = match plugin.streaming {
        Written::Off => (1, "off"),
        Written::On => (2, "on"),
        Written::Parallel => (4, "parallel"),
    };
    let version = "proto_version".to_owned();
    if let Some(given) = plugin.proto_version.filter(|given| *given < lowest) {
        let mistake = format!(
            "`{given}` is too low for `streaming: {wish}`: write `{lowest}`, or leave it out"
        );
        mistakes.push((&version, mistake));
    }
    let is_right = mistakes.is_empty();
    for (name, mistake) in mistakes {
        found.add(format!("{path}.{name}"), mistake);
    }
    is_right.then_some(plugin)
}

fn version(value: &str) -> Result<u8, String> {
    match value.parse() {
        Ok(version @ 1..=4) => Ok(version),
        _ => Err(format!(
            "`{value}` is no version of the protocol: write `1`, `2`, `3` or `4`, or leave it out"
        )),
    }
}

fn streaming(value: &str) -> Result<Written, String> {
    match value {
        "off" | "false" => Ok(Written::Off),
        "on" | "true" => Ok(Written::On),
        "parallel" => Ok(Written::Parallel),
        _ => Err(format!("`{value}` is not known: write `off`, `on` or `parallel`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(parameters: &[(&str, &str)]) -> Result<PluginOptions, String> {
        let parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut found = Found::default();
        let plugin = read(&parameters.collect(), "p", &mut found);
        plugin.map(|plugin| plugin.options(Path::new("d"))).ok_or_else(|| format!("{found:?}"))
    }

    #[test]
    fn parameters_become_options_or_mistakes_with_their_names() {
        let in_progress =
            |parallel| Streaming::InProgress { directory: "d/in-progress".into(), parallel };
        for (parameters, proto_version, streaming) in [
            (&[][..], None, Streaming::Committed),
            (&[("proto_version", "3")], Some(3), Streaming::Committed),
            (&[("streaming", "on")], None, in_progress(false)),
            (&[("streaming", "true"), ("proto_version", "2")], Some(2), in_progress(false)),
            (&[("streaming", "parallel")], None, in_progress(true)),
        ] {
            assert_eq!(read_all(parameters), Ok(PluginOptions { proto_version, streaming }));
        }
        for (parameters, mistake) in [
            (&[("binary", "true")][..], "p.binary"),
            (&[("proto_version", "5")], "`5` is no version"),
            (&[("streaming", "maybe")], "`maybe` is not known"),
            (
                &[("streaming", "on"), ("proto_version", "1")],
                "`1` is too low for `streaming: on`: write `2`",
            ),
        ] {
            let found = read_all(parameters).unwrap_err();
            assert!(found.contains(mistake), "{found}");
        }
    }
}
