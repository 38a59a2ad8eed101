//! Links the program so that less of it is read when it starts.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value| std::env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // A megabyte of relocations becomes a few pages (glibc 2.36 and newer).
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
