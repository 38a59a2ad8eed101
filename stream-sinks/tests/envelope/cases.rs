//! The table of values, and encoders for its options.

#![expect(clippy::panic, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;
use stream_sinks::envelope::options::{
    BinaryMode, DecimalMode, HstoreMode, IntervalMode, TimeMode, ValueOptions,
};

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) type_name: &'static str,
    pub(crate) options: BTreeSet<&'static str>,
    pub(crate) text: &'static str,
    /// `None`: the column is left out.
    pub(crate) json: Option<&'static str>,
}

/// All lines.
pub(crate) fn cases() -> Vec<Case> {
    let lines = include_str!("values.txt").lines().enumerate();
    let cases: Vec<_> = lines
        .filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
        .map(|(at, line)| {
            let parts: Vec<_> = line.split(" | ").collect();
            let [type_name, options, text, json] = parts[..] else { panic!("line {}", at + 1) };
            let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
            Case {
                line: at + 1,
                type_name: type_name.trim(),
                options: options.trim().split(',').filter(|word| !word.is_empty()).collect(),
                text: quoted.unwrap_or(text),
                json: (json != "-").then_some(json),
            }
        })
        .collect();
    assert!(cases.len() > 250, "only {} cases", cases.len());
    cases
}

impl Case {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.contains(option)
    }

    /// The options that change values.
    pub(crate) fn values(&self) -> ValueOptions {
        let mut values = ValueOptions::default();
        for option in &self.options {
            match *option {
                "decimal=string" => values.decimal = DecimalMode::String,
                "decimal=double" => values.decimal = DecimalMode::Double,
                "time=microtime" => values.time = TimeMode::AdaptiveTimeMicroseconds,
                "time=connect" => values.time = TimeMode::Connect,
                "time=iso" => values.time = TimeMode::IsoString,
                "time=micros" => values.time = TimeMode::Microseconds,
                "time=nanos" => values.time = TimeMode::Nanoseconds,
                "binary=base64" => values.binary = BinaryMode::Base64,
                "binary=url" => values.binary = BinaryMode::Base64UrlSafe,
                "binary=hex" => values.binary = BinaryMode::Hex,
                "hstore=map" => values.hstore = HstoreMode::Map,
                "interval=string" => values.interval = IntervalMode::String,
                "money=3" => values.money_fraction_digits = 3,
                "money=0" => values.money_fraction_digits = 0,
                "unknown=off" => values.include_unknown = false,
                "pure" | "pg15" | "pg17" => {}
                other => panic!("line {}: unknown option `{other}`", self.line),
            }
        }
        values
    }

    /// The first server that has the type.
    pub(crate) fn since(&self) -> u16 {
        match () {
            () if self.has("pg17") => 17,
            () if self.has("pg15") => 15,
            () => 14,
        }
    }
}

/// The text of member `name` of `after`, as it stands in the event; `None` without such a member.
pub(crate) fn shown(event: &[u8], name: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        after: std::collections::BTreeMap<String, &'a RawValue>,
    }
    let event: Event<'_> = serde_json::from_slice(event)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(event)));
    event.data.after.get(name).map(|value| value.get().to_owned())
}

/// The event as a tree.
pub(crate) fn tree(event: &[u8]) -> Value {
    serde_json::from_slice(event)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(event)))
}
