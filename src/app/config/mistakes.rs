//! The parser's complaints in plain words: unknown keys with the nearest known one, wrong types with an example.

use std::borrow::Cow;
use std::fmt;

use super::problem::Step;

/// Every key with its default and its meaning, as the user sees it; the source of the examples.
pub(super) const REFERENCE: &str = include_str!("../../../gateway.toml");

/// Keys that are agreed but not served yet, with what to do until then. An empty section is the file's top level.
const LATER: [(&str, &str, &str); 1] = [("", "admin", "leave the section out; the log says what the gateway does")];

/// Turns a message of the parser into the problem and the hints that help. `is_section` tells whether what stands under
/// a name at the top of the file is a section.
pub(super) fn explain(path: &[Step], message: &str, is_section: impl Fn(&str) -> bool) -> (String, Vec<String>) {
    let section = Section::of(path);
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field ") {
        let key = quoted.next().unwrap_or_default();
        let known = quoted.collect::<Vec<_>>();
        if section.name.is_empty() && !is_section(key) {
            return key_without_section(key, &known);
        }
        return unknown_key(&section, key, &known);
    }
    if message.starts_with("missing field ") {
        let key = quoted.next().unwrap_or_default();
        return (format!("{section} needs `{key}`"), example(&section.name, key).into_iter().collect());
    }
    wrong_value(&section, path, message)
}

fn unknown_key(section: &Section, key: &str, known: &[&str]) -> (String, Vec<String>) {
    if let Some((.., remedy)) = LATER.iter().find(|(within, later, _)| *within == section.name && *later == key) {
        return (format!("{} is not in this version yet; {remedy}", section.named(key)), Vec::new());
    }
    let nearest = nearest(key, known.iter().copied());
    let (what, which) = match &*section.name {
        "" => (format!("unknown section [{key}]"), nearest.map(header)),
        _ => (format!("unknown key `{key}` in {section}"), nearest.map(|known| format!("`{known}`"))),
    };
    let kind = if section.name.is_empty() { "sections" } else { "keys" };
    let problem = match which {
        Some(which) => format!("{what}; did you mean {which}?"),
        None => what,
    };
    (problem, vec![format!("known {kind}: {}", known.join(", "))])
}

/// A key stands above the first section.
fn key_without_section(key: &str, sections: &[&str]) -> (String, Vec<String>) {
    let problem = format!("unknown key `{key}` above the first section");
    let homes = sections_with(key).into_iter().map(header).collect::<Vec<_>>();
    if homes.is_empty() {
        return (problem, vec![format!("known sections: {}", sections.join(", "))]);
    }
    let homes = homes.join(" or ");
    (format!("{problem}; it belongs into {homes}"), vec![format!("write it below a line {homes}")])
}

/// Returns the known word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // Two letters swapped are one slip, and make a short word look like quite another to the usual measure.
    let likeness = |known: &str| match strsim::damerau_levenshtein(&word, known) {
        0 | 1 => 1.0,
        _ => strsim::jaro_winkler(&word, known),
    };
    known
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn wrong_value(section: &Section, path: &[Step], message: &str) -> (String, Vec<String>) {
    let Some((found, expected)) = message.split_once(", expected ") else {
        return (message.to_owned(), Vec::new());
    };
    let found = plain_value(found);
    match path.last() {
        Some(Step::Key(key)) if key == "password" => (
            format!("{} must be {}", section.named(key), plain(expected)),
            example(&section.name, key).into_iter().collect(),
        ),
        Some(Step::Key(key)) if !section.name.is_empty() && section.own_key() != key => (
            format!("{} must be {}, not {found}", section.named(key), plain(expected)),
            example(&section.name, key).into_iter().collect(),
        ),
        _ => (
            format!(
                "{section} must be {}, not {found}",
                if expected == LIST { "a list of sections" } else { plain(expected) }
            ),
            vec![format!("write the section as {section}, with one `key = value` a line below it")],
        ),
    }
}

/// The parser's words for the value it found, without the name of its type.
fn plain_value(found: &str) -> String {
    let value = found.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ").replace('`', "");
    // Said of an integer beyond 64 bits.
    let value = value.trim_end_matches(" as i128");
    match value {
        "map" => "a table".into(),
        "sequence" => "a list".into(),
        _ => ["string ", "integer ", "boolean ", "floating point "]
            .iter()
            .find_map(|kind| value.strip_prefix(kind))
            .unwrap_or(value)
            .to_owned(),
    }
}

/// The parser's name of a list.
const LIST: &str = "a sequence";

/// The parser's name of a type, for people.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        "a nonzero u32" | "a nonzero usize" => "a whole number of at least 1",
        "f64" => "a number",
        "a string" | "string" => "text in quotes",
        "a boolean" => "true or false",
        LIST => "a list in square brackets",
        "a map" => "a section",
        text if text.starts_with("struct ") => "a section",
        text => text,
    }
}

/// Finds a key's line in the reference file.
pub(super) fn example(section: &str, key: &str) -> Option<String> {
    let (_, line) = reference_lines(key).find(|(within, _)| *within == section)?;
    let value = line.split("  #").next().unwrap_or(line);
    Some(format!("example: {}", value.trim_end()))
}

/// Returns the sections that know a key.
fn sections_with(key: &str) -> Vec<&'static str> {
    let mut sections: Vec<_> = reference_lines(key).map(|(section, _)| section).collect();
    sections.dedup();
    sections
}

/// Returns a key's lines in the reference file, commented out there or not, and the section of each.
fn reference_lines(key: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut within = "";
    REFERENCE.lines().filter_map(move |line| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            within = line.trim_matches(['[', ']']);
        }
        let is_key = line.split_once(" = ").is_some_and(|(name, _)| name == key);
        is_key.then_some((within, line))
    })
}

/// The section in which a path ends.
struct Section<'a> {
    name: Cow<'a, str>,
}

impl<'a> Section<'a> {
    fn of(path: &'a [Step]) -> Self {
        match path {
            [Step::Key(outer), Step::Key(inner), ..] if is_in_reference(&format!("{outer}.{inner}")) => {
                Self { name: Cow::Owned(format!("{outer}.{inner}")) }
            }
            [Step::Key(name), _, ..] => Self { name: Cow::Borrowed(name) },
            [Step::Key(name)] if is_in_reference(name) => Self { name: Cow::Borrowed(name) },
            _ => Self { name: Cow::Borrowed("") },
        }
    }

    /// A key of this section, or a section if this is the file's top level.
    fn named(&self, key: &str) -> String {
        match &*self.name {
            "" => header(key),
            _ => format!("`{key}` in {self}"),
        }
    }

    /// The last part of the section's name: the key that it is in the section around it.
    fn own_key(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&header(&self.name))
    }
}

fn is_in_reference(section: &str) -> bool {
    REFERENCE.contains(&format!("[{section}]"))
}

/// A section's name as it stands in the file.
fn header(section: &str) -> String {
    match section {
        "udp" | "serial" | "queue" | "outage.topic" => format!("[[{section}]]"),
        _ => format!("[{section}]"),
    }
}
