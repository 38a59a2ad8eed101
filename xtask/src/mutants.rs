//! Puts known bugs of other products into a copy of the tree, one at a time, and looks whether a named test notices.
//!
//! In: the patches in `xtask/mutants`, each with the bug, whose it was, and the test that has to fail. The copy is in
//! `target/mutants`, with build results of its own: no program of the tree is ever one with a bug.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

use crate::postgres::{self, Wanted};
use crate::workspace::{Workspace, output};

/// Which mutants.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only mutants whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// A bug, and the test that notices it.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    name: String,
    /// What goes wrong.
    bug: String,
    /// Whose bug it was.
    seen_in: String,
    caught_by: NamedTest,
}

/// A test, in one of a crate's test programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NamedTest {
    package: String,
    /// `lib`, or the name of a file or folder in `tests`.
    program: String,
    /// With its modules.
    path: String,
}

/// Runs the named tests, which have to pass, and then each with its mutant, where it has to fail.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let wanted = |mutant: &Mutant| {
        args.only.is_empty() || args.only.iter().any(|part| mutant.name.contains(part))
    };
    let mutants: Vec<_> = read(&workspace.root)?.into_iter().filter(wanted).collect();
    ensure!(!mutants.is_empty(), "no mutant in `xtask/mutants` has such a name");
    let servers = postgres::provide(workspace, &Wanted::OldestAndNewest)?;
    let copy = Copy::of(workspace, servers.variables()?)?;

    let tests: BTreeSet<_> = mutants.iter().map(|mutant| &mutant.caught_by).collect();
    for test in tests {
        copy.build(test)?;
        ensure!(
            copy.passes(test)?,
            "{test} fails without any mutant: mend the test, or the tree, first"
        );
    }
    let mut survivors = 0;
    let mut table = Vec::new();
    for mutant in &mutants {
        copy.apply(&mutant.name, false)?;
        let survives = copy.build(&mutant.caught_by).and_then(|()| copy.passes(&mutant.caught_by));
        copy.apply(&mutant.name, true)?;
        let survives = survives.with_context(|| format!("mutant `{}`", mutant.name))?;
        survivors += usize::from(survives);
        let verdict = if survives { "SURVIVES" } else { "caught by" };
        println!("{}: {verdict} {}", mutant.name, mutant.caught_by);
        table.push(format!(
            "| {} | {} | {} | {verdict} {} |",
            mutant.name, mutant.bug, mutant.seen_in, mutant.caught_by
        ));
    }
    println!("\n| mutant | bug | seen in | |\n|---|---|---|---|\n{}", table.join("\n"));
    println!(
        "\n{} mutants, {} caught, {survivors} survive",
        mutants.len(),
        mutants.len() - survivors
    );
    Ok(if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong with the patches in `xtask/mutants`, each with the file's place: one that does not fit the tree, or that
/// names a test which is not there.
pub(crate) fn problems(workspace: &Workspace) -> Result<Vec<(PathBuf, String)>> {
    let root = &workspace.root;
    let mut problems = Vec::new();
    for mutant in read(root)? {
        let path = place(&mutant.name);
        let fits = git(root).args(["apply", "--check"]).arg(&path).output().context("`git`")?;
        if !fits.status.success() {
            let reason = String::from_utf8_lossy(&fits.stderr).trim().replace('\n', "; ");
            problems.push((
                path.clone(),
                format!("does not fit the tree any more: write it anew ({reason})"),
            ));
        }
        if !exists(workspace, &mutant.caught_by)? {
            let test = &mutant.caught_by;
            problems.push((path, format!("names {test}, which is not there: name another test")));
        }
    }
    Ok(problems)
}

/// The patches, by name.
fn read(root: &Path) -> Result<Vec<Mutant>> {
    let directory = root.join("xtask/mutants");
    let context = || format!("`{}`", directory.display());
    let mut mutants = Vec::new();
    for entry in fs::read_dir(&directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            mutants.push(parse(&name, &text)?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

/// Reads the lines before the patch itself.
fn parse(name: &str, text: &str) -> Result<Mutant> {
    let header = |key: &str| {
        let mut lines = text.lines().take_while(|line| !line.starts_with("--- "));
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value.map(str::to_owned).with_context(|| {
            format!("mutant `{name}` has no line `{key}: …` before its patch: add one")
        })
    };
    let caught_by = header("Caught by")?;
    let [package, program, path] = caught_by.split(' ').collect::<Vec<_>>()[..] else {
        bail!(
            "mutant `{name}` says `Caught by: {caught_by}` instead of a crate, a test program or `lib`, and a test"
        );
    };
    Ok(Mutant {
        name: name.to_owned(),
        bug: header("Bug")?,
        seen_in: header("Seen in")?,
        caught_by: NamedTest {
            package: package.to_owned(),
            program: program.to_owned(),
            path: path.to_owned(),
        },
    })
}

fn place(name: &str) -> PathBuf {
    format!("xtask/mutants/{name}.patch").into()
}

/// `git` as it works on files that are in no repository.
fn git(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(directory);
    if let Some(parent) = directory.parent() {
        git.env("GIT_CEILING_DIRECTORIES", parent);
    }
    git
}

/// Whether the sources of a test program have a function of that name, in a file of its module's name.
fn exists(workspace: &Workspace, test: &NamedTest) -> Result<bool> {
    let package = workspace.packages.iter().find(|package| package.name == test.package);
    let Some(package) = package else { return Ok(false) };
    let folder = if test.program == "lib" {
        package.directory.join("src")
    } else {
        package.directory.join("tests").join(&test.program)
    };
    let mut modules: Vec<_> = test.path.split("::").collect();
    let name = modules.pop().unwrap_or_default();
    let module = modules.into_iter().rfind(|module| *module != "tests");
    let is_module = |path: &Path| {
        let name = if path.ends_with("mod.rs") { path.parent() } else { Some(path) };
        let name = name.and_then(Path::file_stem);
        module.is_none_or(|module| name.is_some_and(|name| name == module))
    };
    let mut files = vec![folder.with_extension("rs"), folder];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                files.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && is_module(&path)
            && fs::read_to_string(&path).is_ok_and(|text| text.contains(&format!("fn {name}(")))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl std::fmt::Display for NamedTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` of `{}` ({})", self.path, self.package, self.program)
    }
}

/// A copy of the tree.
struct Copy<'a> {
    workspace: &'a Workspace,
    tree: PathBuf,
    build: PathBuf,
    servers: Vec<(&'static str, OsString)>,
}

impl<'a> Copy<'a> {
    /// Brings the copy to where the tree is. What is the same stays as it is, so that little is built again.
    fn of(workspace: &'a Workspace, servers: Vec<(&'static str, OsString)>) -> Result<Self> {
        let directory = workspace.target.join("mutants");
        let (tree, build) = (directory.join("tree"), directory.join("build"));
        fs::create_dir_all(&tree)?;
        let mut list = Command::new("git");
        list.current_dir(&workspace.root).args(["ls-files", "--cached", "--others"]);
        let listed = output(list.arg("--exclude-standard"))?;
        // One that was deleted is listed until that is committed.
        let files: BTreeSet<_> = listed
            .lines()
            .map(Path::new)
            .filter(|path| workspace.root.join(path).exists())
            .collect();
        sweep(&tree, &tree, &files)?;
        for path in files {
            let (from, to) = (workspace.root.join(path), tree.join(path));
            let wanted = fs::read(&from).with_context(|| format!("`{}`", from.display()))?;
            if fs::read(&to).is_ok_and(|there| there == wanted) {
                continue;
            }
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&to, wanted).with_context(|| format!("`{}`", to.display()))?;
        }
        Ok(Self { workspace, tree, build, servers })
    }

    /// Puts a bug in, or takes it out.
    fn apply(&self, name: &str, reverse: bool) -> Result<()> {
        let mut apply = git(&self.tree);
        apply.arg("apply").args(reverse.then_some("--reverse")).arg(place(name));
        let done = apply.status().context("`git` cannot be run")?.success();
        ensure!(done, "mutant `{name}` does not fit the tree any more: write it anew");
        Ok(())
    }

    fn cargo(&self, test: &NamedTest) -> Command {
        let mut cargo = self.workspace.cargo(&["test", "--quiet", "--all-features", "-p"]);
        cargo.current_dir(&self.tree).arg(&test.package).env("CARGO_TARGET_DIR", &self.build);
        if test.program == "lib" {
            cargo.arg("--lib");
        } else {
            cargo.args(["--test", &test.program]);
        }
        cargo.envs(self.servers.iter().cloned());
        cargo
    }

    fn build(&self, test: &NamedTest) -> Result<()> {
        let built = self.cargo(test).arg("--no-run").status();
        ensure!(built.context("`cargo` cannot be run")?.success(), "cannot build {test}");
        Ok(())
    }

    /// Whether the test passes; that it did not run is an error.
    fn passes(&self, test: &NamedTest) -> Result<bool> {
        let mut cargo = self.cargo(test);
        cargo.args(["--", "--exact", &test.path]);
        let ran = cargo.output().context("`cargo` cannot be run")?;
        let text = String::from_utf8_lossy(&ran.stdout);
        if text.contains("test result: ok. 1 passed") {
            return Ok(true);
        }
        ensure!(
            text.contains("test result: FAILED. 0 passed; 1 failed"),
            "{test} did not run: is its path right?\n{text}{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        Ok(false)
    }
}

/// Removes what is below `directory` and not among `files`, which are named from `tree` on.
fn sweep(tree: &Path, directory: &Path, files: &BTreeSet<&Path>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sweep(tree, &path, files)?;
        } else if path.strip_prefix(tree).is_ok_and(|name| !files.contains(name)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_fits_the_tree_and_names_a_test_that_is_there() {
        let workspace = Workspace::load().unwrap();
        assert!(read(&workspace.root).unwrap().len() >= 20);
        assert_eq!(problems(&workspace).unwrap(), []);
    }

    #[test]
    fn a_mutant_says_what_it_is() {
        let text = "Bug: lost\nSeen in: X\nCaught by: core lib a::b\n--- a/x\n+++ b/x\n";
        let mutant = parse("m", text).unwrap();
        assert_eq!((mutant.bug.as_str(), mutant.seen_in.as_str()), ("lost", "X"));
        assert_eq!(mutant.caught_by.to_string(), "`a::b` of `core` (lib)");
        for without in ["Bug: ", "Seen in: ", "Caught by: "] {
            let error = parse("m", &text.replace(without, "")).unwrap_err().to_string();
            assert!(error.contains(without.trim()), "{error}");
        }
        assert!(parse("m", &text.replace(" a::b", "")).is_err());
    }
}
