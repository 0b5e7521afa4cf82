//! The fuzz targets' corpora, replayed: what has been tried once is tried every time.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program: failing loudly is its purpose, and the fuzz targets share its checks"
)]

use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

#[test]
fn every_kept_frame_passes() {
    replay("decode", checks::decode);
}

#[test]
fn every_kept_stream_passes() {
    replay("framing", checks::framing);
}

#[test]
fn every_kept_world_passes() {
    replay("world", checks::world);
}

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} holds nothing", corpus.display());
    for input in inputs {
        println!("{}", input.display());
        check(&std::fs::read(&input).unwrap());
    }
}
