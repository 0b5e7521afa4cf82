//! The rules of the house that the compiler does not know: who imports whom, and how long a file may be.
//! `docs/architecture.md` gives the reasons.

use std::fs;
use std::path::{Path, PathBuf};

/// A room of `src/` and the rooms of ours that it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("core", &["wire"]),
    ("sim", &["wire", "core"]),
    ("links", &["wire", "core"]),
    ("mqtt", &["wire"]),
    ("broker", &["wire", "core", "mqtt"]),
    ("store", &["wire", "core"]),
    ("ops", &["wire", "core"]),
    ("tools", &["wire", "links", "core", "mqtt"]),
    ("app", &["wire", "core", "links", "broker", "store", "ops", "tools"]),
    ("main.rs", &["app", "tools"]),
    ("lib.rs", &[]),
];

/// What the rooms around the core may name of it: the types that cross its border, never its behaviour.
const CORE_IO: &[&str] = &[
    "BrokerCommand",
    "BrokerEvent",
    "BrokerOffer",
    "BrokerReason",
    "Cast",
    "ConnId",
    "ConnectSpec",
    "Delivery",
    "Instant",
    "LinkAddress",
    "LinkId",
    "Message",
    "Origin",
    "PacketId",
    "Peer",
    "PublishOutcome",
    "Record",
    "RecordKey",
    "SessionNumber",
    "StoreOp",
    "StoreToken",
    "SubscribeOutcome",
    "SubscriptionId",
    "Token",
    "topics",
];

/// The rooms that drive the core.
const DRIVERS: &[&str] = &["app", "sim", "core"];

/// Lines of a source file before its tests.
const MAX_LINES: usize = 600;

#[test]
fn every_room_imports_only_the_rooms_it_may() {
    let mut trespasses = Vec::new();
    for file in source_files() {
        let (room, allowed) = room_of(&file);
        let text = without_comments(&production_part(&read(&file)));
        for imported in imported_rooms(&text) {
            if imported != room && !allowed.contains(&imported) {
                trespasses.push(format!("{} imports {imported}", file.display()));
            }
        }
    }
    assert!(trespasses.is_empty(), "{trespasses:#?}");
}

#[test]
fn only_the_app_knows_more_of_the_core_than_its_border() {
    let mut trespasses = Vec::new();
    for file in source_files() {
        if DRIVERS.contains(&room_of(&file).0) || is_of_tests(&file) {
            continue;
        }
        let text = without_comments(&production_part(&read(&file)));
        for name in names_behind("crate::core::", &text) {
            if !CORE_IO.contains(&name) {
                trespasses.push(format!("{} imports core::{name}", file.display()));
            }
        }
    }
    assert!(trespasses.is_empty(), "{trespasses:#?}");
}

#[test]
fn no_file_is_longer_than_the_limit() {
    let long: Vec<String> = source_files()
        .into_iter()
        .map(|file| (production_part(&read(&file)).lines().count(), file))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, file)| format!("{}: {lines} lines before the tests", file.display()))
        .collect();
    assert!(long.is_empty(), "split these, the limit is {MAX_LINES}: {long:#?}");
}

#[test]
fn every_file_that_the_papers_name_exists() {
    let mut missing = Vec::new();
    let papers = [
        "README.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/performance.md",
        "docs/spec.md",
        "examples/arduino/README.md",
    ];
    for paper in papers {
        for name in named_files(&read(&root().join(paper))) {
            if !root().join(&name).exists() {
                missing.push(format!("{paper} names {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_test_that_the_map_of_the_specification_names_exists() {
    let code: String = ["src", "tests"].into_iter().flat_map(files_below).map(|file| read(&file)).collect();
    let map = read(Path::new("docs/spec.md"));
    let names = map.split('`').skip(1).step_by(2).filter(|span| span.matches('_').count() >= 2);
    let names = names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let missing: Vec<&str> = names.filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::core::Peer;\nuse crate::{broker::Connection, wire::{Qos, links}};\nlet x = mqttsn_gateway::app::run();";
    assert_eq!(imported_rooms(text), ["core", "broker", "wire", "app"]);
}

/// The rooms named behind `crate::` and behind the crate's own name.
fn imported_rooms(text: &str) -> Vec<&str> {
    let names = ["crate::", "mqttsn_gateway::"].into_iter().flat_map(|root| names_behind(root, text));
    names.filter(|name| ROOMS.iter().any(|(room, _)| room == name)).collect()
}

/// The first names behind `prefix`, wherever it stands, alone or in a group in braces.
fn names_behind<'a>(prefix: &str, text: &'a str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let path = &text[at + prefix.len()..];
        match path.strip_prefix('{') {
            None => names.push(first_name(path)),
            Some(group) => names.extend(heads_of(group).into_iter().map(first_name)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The beginnings of the members of a `use` group, which are separated by commas on the group's own level.
fn heads_of(group: &str) -> Vec<&str> {
    let mut heads = vec![group];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(&group[at + 1..]),
            _ => {}
        }
    }
    heads
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

fn room_of(file: &Path) -> (&'static str, &'static [&'static str]) {
    let first = file.components().nth(1).expect("a file below src").as_os_str();
    let room = ROOMS.iter().find(|(room, _)| *room == first);
    *room.unwrap_or_else(|| panic!("{}: say in this file which rooms it may import", file.display()))
}

/// Paths that the project would have: in back quotes, below one of its folders, without a pattern.
fn named_files(paper: &str) -> Vec<String> {
    let spans = paper.split('`').skip(1).step_by(2);
    let folders = ["src/", "tests/", "docs/", "scripts/", "fixtures/", "examples/", "benches/"];
    spans
        .filter(|span| folders.iter().any(|folder| span.starts_with(folder)))
        .filter(|span| !span.contains(['*', ' ', '<', '{']))
        .map(|span| span.split("::").next().unwrap_or(span).to_owned())
        .collect()
}

/// Returns every Rust file below `src`, relative to the project's root.
fn source_files() -> Vec<PathBuf> {
    files_below("src")
}

fn files_below(top: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(top)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("the folder can be read") {
            let entry = entry.expect("the folder can be read");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns whether all of a file is tests, as its name says: `tests.rs`, or a file below `tests/`.
fn is_of_tests(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.iter().any(|component| component == "tests")
}

/// What stands before the tests of a file.
fn production_part(text: &str) -> String {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).map(|line| format!("{line}\n")).collect()
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}
