//! Where the repository and its parts are, as Cargo tells it; and running programs there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The Cargo workspace this program belongs to.
pub(crate) struct Workspace {
    /// The top of the repository.
    pub(crate) root: PathBuf,
    /// Where build results go.
    pub(crate) target: PathBuf,
    /// The member crates.
    pub(crate) packages: Vec<Package>,
}

/// A member crate.
pub(crate) struct Package {
    pub(crate) name: String,
    /// The directory of its manifest.
    pub(crate) directory: PathBuf,
    /// The names of the crates it needs to be built; not those of its tests.
    pub(crate) dependencies: Vec<String>,
    /// The root files of its libraries, programs and tests.
    pub(crate) roots: Vec<PathBuf>,
}

impl Workspace {
    /// Asks `cargo metadata`.
    pub(crate) fn load() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
        let output = output(
            Command::new("cargo")
                .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
                .arg(manifest),
        )?;
        let metadata: Value = serde_json::from_str(&output).context("`cargo metadata`")?;
        let packages = items(&metadata, "packages").map(Package::read).collect::<Result<_>>()?;
        Ok(Self {
            root: text(&metadata, "workspace_root")?.into(),
            target: text(&metadata, "target_directory")?.into(),
            packages,
        })
    }

    /// A Cargo command at the top of the repository.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.root).args(arguments);
        // What `cargo run` tells this program about itself: crates that look at it would be built again.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            }) {
                cargo.env_remove(name);
            }
        }
        cargo
    }
}

impl Package {
    fn read(package: &Value) -> Result<Self> {
        let manifest = PathBuf::from(text(package, "manifest_path")?);
        let dependencies = items(package, "dependencies")
            .filter(|dependency| dependency.get("kind").is_some_and(Value::is_null))
            .map(|dependency| text(dependency, "name"))
            .collect::<Result<_>>()?;
        let roots = items(package, "targets")
            .map(|target| Ok(text(target, "src_path")?.into()))
            .collect::<Result<_>>()?;
        Ok(Self {
            name: text(package, "name")?,
            directory: manifest.parent().context("a manifest without directory")?.to_owned(),
            dependencies,
            roots,
        })
    }
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value.get(key).and_then(Value::as_str);
    Ok(text.with_context(|| format!("`cargo metadata` gave no `{key}`"))?.to_owned())
}

/// Runs `command` to its end and returns what it printed; its messages go to the terminal.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("`{program}` cannot be run"))?;
    ensure!(output.status.success(), "`{program}` failed ({})", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They are a workspace of their own, for nightly: nothing else notices when they are left behind.
    #[test]
    fn the_fuzz_targets_compile() {
        let workspace = Workspace::load().unwrap();
        // The same versions of what both need.
        let fuzz = workspace.root.join("fuzz");
        std::fs::copy(workspace.root.join("Cargo.lock"), fuzz.join("Cargo.lock")).unwrap();
        let mut cargo = workspace.cargo(&["check", "--quiet", "--manifest-path"]);
        cargo.arg(fuzz.join("Cargo.toml")).arg("--target-dir").arg(&workspace.target);
        // Nothing is linked, so that the fuzzer itself need not be built.
        let checked = cargo.env("CUSTOM_LIBFUZZER_PATH", "/libfuzzer.a").status().unwrap();
        assert!(checked.success());
    }
}
