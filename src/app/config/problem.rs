//! What is wrong with a configuration, and where: one message that names the place, the thing and the remedy.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};

/// A configuration that cannot be used. Its text is complete: place, problem, remedy.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}{}", Hints(.hints))]
pub struct ConfigError {
    place: Place,
    problem: String,
    hints: Vec<String>,
}

impl ConfigError {
    /// Returns whether a flag is to blame, not the file.
    pub fn is_about_a_flag(&self) -> bool {
        matches!(self.place, Place::Flag(_))
    }

    pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        Self {
            place: Place::File(file.into()),
            problem: format!("the file cannot be read: {error}"),
            hints: vec!["without --config, `gateway.toml` in the working directory is read if it is there".into()],
        }
    }
}

/// Where the mistake stands.
#[derive(Debug)]
enum Place {
    File(String),
    Position { file: String, line: usize, column: usize },
    Flag(&'static str),
}

/// Something wrong at one key, before it is known where the key stands.
#[derive(Debug)]
pub(super) struct Problem {
    path: Vec<Step>,
    text: String,
    hint: Option<String>,
}

/// One step from the top of the file to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Problem {
    pub(super) fn at<S: Into<Step>>(path: impl IntoIterator<Item = S>, text: impl Into<String>) -> Self {
        Self { path: path.into_iter().map(Into::into).collect(), text: text.into(), hint: None }
    }

    /// A problem with one key of the `index`-th `[[section]]`.
    pub(super) fn in_entry(section: &str, index: usize, key: &str, text: impl Into<String>) -> Self {
        Self::at([section.into(), Step::Index(index), key.into()], text)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The text of a configuration, and which of its sections the command line has replaced.
#[derive(Debug)]
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    flags: Vec<(&'static [&'static str], &'static str)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, flags: Vec::new() }
    }

    /// Notes that what stands below `path` came from a flag.
    pub(super) fn replaced(&mut self, path: &'static [&'static str], flag: &'static str) {
        self.flags.push((path, flag));
    }

    /// Reads the sections.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let document = toml::Deserializer::parse(self.text).map_err(|error| self.syntax(&error))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().iter().filter_map(step).collect::<Vec<_>>();
            let inner = error.into_inner();
            let place = inner.span().map_or_else(|| self.place(&path), |span| self.position(span.start));
            let (problem, hints) = super::mistakes::explain(&path, inner.message(), |name| self.is_section(name));
            ConfigError { place, problem, hints }
        })
    }

    /// Puts the place to a problem.
    pub(super) fn locate(&self, problem: Problem) -> ConfigError {
        ConfigError {
            place: self.place(&problem.path),
            problem: problem.text,
            hints: problem.hint.into_iter().collect(),
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let hint = error.message().contains("expected").then(|| {
            "a line is `key = value` or `[section]`; text stands in quotes: listen = \"[::]:1883\"".to_owned()
        });
        ConfigError {
            place: error.span().map_or_else(|| Place::File(self.file.into()), |span| self.position(span.start)),
            problem: format!("the file cannot be understood: {}", error.message()),
            hints: hint.into_iter().collect(),
        }
    }

    fn place(&self, path: &[Step]) -> Place {
        let flag = self.flags.iter().find(|(replaced, _)| {
            replaced.iter().zip(path).filter(|(key, step)| Step::from(**key) == **step).count() == replaced.len()
        });
        match (flag, self.span(path)) {
            (Some((_, flag)), _) => Place::Flag(flag),
            (None, Some(span)) => self.position(span.start),
            (None, None) => Place::File(self.file.into()),
        }
    }

    /// Finds the value at the end of the path, or the nearest table around it that the file has.
    fn span(&self, path: &[Step]) -> Option<Range<usize>> {
        let document = DeTable::parse(self.text).ok()?;
        let (first, rest) = path.split_first()?;
        let Step::Key(section) = first else { return None };
        let mut value = entry(document.get_ref(), section)?;
        for step in rest {
            let inner = match (step, value.get_ref()) {
                (Step::Key(key), DeValue::Table(table)) => entry(table, key),
                (Step::Index(index), DeValue::Array(array)) => array.get(*index),
                _ => None,
            };
            match inner {
                Some(inner) => value = inner,
                None => break,
            }
        }
        Some(value.span())
    }

    fn is_section(&self, name: &str) -> bool {
        let document = DeTable::parse(self.text).ok();
        let value = document.as_ref().and_then(|document| entry(document.get_ref(), name));
        value.is_none_or(|value| matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)))
    }

    fn position(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::Position {
            file: self.file.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t toml::Spanned<DeValue<'i>>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Position { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Hints, each on a line of its own.
struct Hints<'a>(&'a [String]);

impl fmt::Display for Hints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|hint| write!(f, "\n  {hint}"))
    }
}
