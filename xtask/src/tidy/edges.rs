//! Which crate and which module may know which.

use std::path::Path;

use super::{Problem, Source};
use crate::workspace::Package;

/// Crates and the beginnings of the names of crates they may not depend on.
const FORBIDDEN_CRATES: [(&str, &[&str]); 4] = [
    ("stream-api", &["stream-core", "stream-sinks", "tokio", "tokio-postgres"]),
    ("stream-core", &["stream-api", "stream-sinks", "kube", "k8s-openapi", "prometheus"]),
    ("stream-sinks", &["stream-api", "kube", "k8s-openapi"]),
    ("stream-operator", &["stream-core", "stream-sinks", "tokio-postgres"]),
];

/// Words that the engine does not know, in lower case.
const FORBIDDEN_WORDS: [&str; 3] = ["kube", "k8s", "debezium"];

/// The modules of `stream-core`: one may use its own row and those above.
const LAYERS: [&[&str]; 6] = [
    &["clock", "lsn", "relation", "columns", "change", "table", "types", "sql", "failpoint"],
    &["pgoutput"],
    &["assemble", "filter", "transform", "batch", "progress"],
    &["source", "sink", "copy", "checkpoint", "signal", "stats", "retry", "error", "finding"],
    &["snapshot", "postgres", "throwaway", "file_store"],
    &["pipeline", "testing"],
];

/// Forbidden dependencies between crates.
pub(super) fn crates(packages: &[Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        let forbidden = FORBIDDEN_CRATES.iter().filter(|(name, _)| *name == package.name);
        for name in forbidden.flat_map(|(_, names)| *names) {
            if package.dependencies.iter().any(|dependency| dependency == name) {
                let message = format!("`{}` may not depend on `{name}`", package.name);
                let path = Path::new(&package.name).join("Cargo.toml");
                problems.push(Problem { path, line: 0, message });
            }
        }
    }
    problems
}

/// Words of the outside world in the engine.
pub(super) fn words(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("stream-core/src")) {
        for (line, number) in source.text.lines().zip(1..) {
            let line = line.to_lowercase();
            for word in FORBIDDEN_WORDS.iter().filter(|word| line.contains(*word)) {
                let message = format!("`stream-core` does not know `{word}`: translate outside");
                problems.push(source.problem(number, message));
            }
        }
    }
    problems
}

/// Uses of a module of `stream-core` by one that lies below it.
pub(super) fn modules(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources {
        let Ok(path) = source.path.strip_prefix("stream-core/src") else { continue };
        let module = path.iter().next().map(Path::new).and_then(Path::file_stem);
        let Some(module) = module.and_then(|module| module.to_str()) else { continue };
        if module == "lib" {
            continue;
        }
        let Some(own) = layer(module) else {
            let message = format!("module `{module}` has no layer: add it to `LAYERS` in `tidy`");
            problems.push(source.problem(0, message));
            continue;
        };
        for (number, line) in source.code().filter(|(_, line)| !is_comment(line)) {
            for used in line.split("crate::").skip(1).map(first_word) {
                if layer(used).is_some_and(|layer| layer > own) {
                    let message = format!("`{module}` may not use `{used}`, which builds on it");
                    problems.push(source.problem(number, message));
                }
            }
        }
    }
    problems
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    fn lines(problems: &[Problem]) -> Vec<usize> {
        problems.iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn a_crate_that_depends_on_a_forbidden_one_is_found() {
        let package = |name: &str, dependency: &str| Package {
            name: name.to_owned(),
            directory: name.into(),
            dependencies: vec![dependency.to_owned()],
            roots: Vec::new(),
        };
        assert_eq!(crates(&[package("stream-core", "stream-api")]).len(), 1);
        assert_eq!(crates(&[package("stream-sinks", "stream-core")]), []);
        assert_eq!(crates(&[package("stream-worker", "kube")]), []);
    }

    #[test]
    fn words_of_the_outside_are_found_in_the_engine_only() {
        let text = "// plain\n// As Debezium does.\nuse kube::Client;\n";
        assert_eq!(lines(&words(&[source("stream-core/src/lsn.rs", text)])), [2, 3]);
        assert_eq!(words(&[source("stream-worker/src/main.rs", text)]), []);
    }

    #[test]
    fn a_module_uses_only_what_lies_above_it() {
        let text = "//! [`crate::pipeline`]\nuse crate::lsn::Lsn;\nuse crate::pipeline::Pipeline;\n\
                    #[cfg(test)]\nmod tests { use crate::testing::Ledger; }\n";
        assert_eq!(lines(&modules(&[source("stream-core/src/pgoutput/decode.rs", text)])), [3]);
        assert_eq!(modules(&[source("stream-core/src/pipeline.rs", text)]), []);
        assert_eq!(lines(&modules(&[source("stream-core/src/novel.rs", "")])), [0]);
    }
}
