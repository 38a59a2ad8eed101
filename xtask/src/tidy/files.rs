//! Rules for single files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Problem, Source};

/// The most lines a file may have before its tests.
const MAX_LINES: usize = 400;

/// Beginnings of lines that go around a rule, and the way out.
const ESCAPES: [(&str, &str); 4] = [
    ("#[allow(", "use `#[expect(…, reason = \"…\")]`"),
    ("#![allow(", "use `#![expect(…, reason = \"…\")]`"),
    ("#[ignore", "a test runs or does not exist"),
    ("todo!(", "write it, or return an error that says what is not supported"),
];

/// Files that no `mod` line reaches, and which are thus never compiled.
pub(super) fn orphans(sources: &[Source], roots: &[&Path]) -> Vec<Problem> {
    let mut reached: HashSet<PathBuf> = HashSet::new();
    let mut waiting: Vec<PathBuf> = roots.iter().map(|&root| root.to_owned()).collect();
    while let Some(path) = waiting.pop() {
        let source = sources.iter().find(|source| source.path == path);
        let Some(source) = source.filter(|_| !reached.contains(&path)) else { continue };
        let is_root = roots.contains(&&*path);
        waiting.extend(children(source, is_root));
        reached.insert(path);
    }
    let orphans = sources.iter().filter(|source| !reached.contains(&source.path));
    let message = "no `mod` line reaches this file: add one, or delete the file";
    orphans.map(|source| source.problem(0, message.to_owned())).collect()
}

/// The places where the modules that `source` declares may be.
fn children(source: &Source, is_root: bool) -> Vec<PathBuf> {
    let parent = source.path.parent().unwrap_or(Path::new(""));
    let stem = source.path.file_stem().unwrap_or_default();
    let directory = if is_root || stem == "mod" { parent.to_owned() } else { parent.join(stem) };
    let mut paths = Vec::new();
    let mut explicit = None;
    for line in source.text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|p| p.strip_suffix("\"]")) {
            explicit = Some(parent.join(path));
        } else if let Some(module) = declared(line) {
            paths.extend(explicit.take());
            paths.push(directory.join(format!("{module}.rs")));
            paths.push(directory.join(module).join("mod.rs"));
        }
    }
    paths
}

/// The name in `mod name;`, whatever its visibility.
fn declared(line: &str) -> Option<&str> {
    let name = line.strip_suffix(';')?;
    let (before, name) = name.rsplit_once(' ')?;
    let is_mod = before == "mod" || before.starts_with("pub") && before.ends_with(" mod");
    is_mod.then_some(name)
}

/// Files that are too long; those below `tests` may be.
pub(super) fn size(source: &Source) -> Option<Problem> {
    let is_test = source.path.iter().any(|part| part == "tests");
    let lines = source.code().count();
    (!is_test && lines > MAX_LINES).then(|| {
        let message = format!("{lines} lines before the tests, {MAX_LINES} at most: divide it");
        source.problem(0, message)
    })
}

/// Lines that go around a rule.
pub(super) fn escapes(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, number) in source.text.lines().zip(1..) {
        let line = line.trim_start();
        for (escape, way_out) in ESCAPES {
            if line.starts_with(escape) {
                problems.push(source.problem(number, format!("`{escape}`: {way_out}")));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn a_file_without_a_mod_line_is_an_orphan() {
        let sources = [
            source(
                "a/src/lib.rs",
                "mod plain;\npub mod folder;\n#[path = \"odd.rs\"]\nmod even;\n",
            ),
            source("a/src/plain.rs", "pub(crate) mod child;\n"),
            source("a/src/plain/child.rs", ""),
            source("a/src/folder/mod.rs", "pub(super) mod child;\n"),
            source("a/src/folder/child.rs", ""),
            source("a/src/odd.rs", ""),
            source("a/src/child.rs", "// mod lib;"),
        ];
        let orphans = orphans(&sources, &[Path::new("a/src/lib.rs")]);
        let paths: Vec<_> = orphans.iter().map(|problem| &*problem.path).collect();
        assert_eq!(paths, [Path::new("a/src/child.rs")]);
    }

    #[test]
    fn only_lines_before_the_tests_count() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert!(size(&source("a/src/lib.rs", &long)).is_some());
        assert!(size(&source("a/tests/it.rs", &long)).is_none());
        let tests = format!("x\n#[cfg(test)]\n{long}");
        assert!(size(&source("a/src/lib.rs", &tests)).is_none());
    }

    #[test]
    fn ways_around_a_rule_are_found() {
        let text = "fn a() {\n    #[allow(dead_code)]\n    let s = \"#[allow(\";\n    todo!()\n}\n";
        let lines: Vec<_> =
            escapes(&source("a/src/lib.rs", text)).iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 4]);
    }
}
