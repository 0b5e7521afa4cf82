//! Topic names and topic filters that a broker will accept: parsed once, at the edge.

use bytestring::ByteString;
use thiserror::Error;

/// Octets of the longest name MQTT can carry.
const MAX_OCTETS: usize = 65_535;
/// Levels of a name or filter: as many as Mosquitto takes. A filter of slashes would cost a tree node for each octet.
const MAX_LEVELS: usize = 200;

/// A full topic name without wildcards, as MQTT 4.7 allows in a PUBLISH. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(ByteString);

/// A topic filter with or without wildcards, in the syntax of MQTT 4.7. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(ByteString);

/// Why a name or filter is refused; a broker would answer it by closing the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than 65535 octets")]
    TooLong,
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it contains a control character (U+0000 to U+001F, U+007F to U+009F)")]
    ControlCharacter,
    #[error("it contains a code point that is no character (such as U+FFFE)")]
    NonCharacter,
    #[error("it contains a wildcard (+ or #), and one topic is named here, not many")]
    Wildcard,
    #[error("it has more than 200 levels")]
    TooDeep,
    #[error("'+' must stand alone between slashes")]
    PlusInLevel,
    #[error("'#' must stand alone in the last level")]
    HashNotLast,
    #[error("a shared subscription needs the form $share/GROUP/FILTER")]
    SharedSyntax,
}

impl TopicName {
    /// Parses octets from a frame, copying them.
    pub fn parse(octets: &[u8]) -> Result<Self, TopicError> {
        Ok(Self(text(octets)?)).and_then(Self::without_wildcards)
    }

    /// Parses a string that is already shared, without a copy.
    pub fn from_shared(name: ByteString) -> Result<Self, TopicError> {
        check_common(&name)?;
        Self(name).without_wildcards()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as shared bytes, without a copy.
    pub fn as_shared(&self) -> &ByteString {
        &self.0
    }

    /// Returns the name's two octets if it can be sent as a short topic name (MQTT-SN 1.2 §6.7).
    pub fn as_short(&self) -> Option<[u8; 2]> {
        self.0.as_bytes().as_ref().try_into().ok()
    }

    fn without_wildcards(self) -> Result<Self, TopicError> {
        if self.0.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(self)
    }
}

impl TopicFilter {
    /// Parses octets from a frame, copying them.
    pub fn parse(octets: &[u8]) -> Result<Self, TopicError> {
        let filter = text(octets)?;
        check_filter_syntax(&filter)?;
        Ok(Self(filter))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the filter as shared bytes, without a copy.
    pub fn as_shared(&self) -> &ByteString {
        &self.0
    }

    /// Returns the one topic name that the filter matches, or `None` if it can match several.
    ///
    /// Broker extensions such as `$share/...` are no topic's name (see MQTT-SN digest 6.4), so they count as several.
    pub fn as_name(&self) -> Option<TopicName> {
        if self.shared_group().is_some() {
            return None;
        }
        TopicName(self.0.clone()).without_wildcards().ok()
    }

    /// Splits `$share/GROUP/FILTER` into group and filter.
    pub fn shared_group(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix("$share/")?.split_once('/')
    }

    /// Returns the part that topics are compared with: the filter itself, or what stands behind `$share/GROUP/`.
    pub fn matched_part(&self) -> &str {
        self.shared_group().map_or(&self.0, |(_, filter)| filter)
    }

    /// Returns whether the filter matches a topic: level by level, and a topic that begins with `$` is matched by no
    /// wildcard at its beginning (MQTT 3.1.1 §4.7).
    ///
    /// For many filters there is [`Tree`](super::Tree).
    pub fn matches(&self, topic: &TopicName) -> bool {
        let filter = self.matched_part();
        if topic.as_str().starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.as_str().split('/');
        for wanted in filter.split('/') {
            let level = levels.next();
            // `#` stands for the level before it as well: `a/#` matches `a`.
            if wanted == "#" {
                return true;
            }
            if level.is_none_or(|level| wanted != "+" && wanted != level) {
                return false;
            }
        }
        levels.next().is_none()
    }
}

impl From<TopicName> for TopicFilter {
    fn from(name: TopicName) -> Self {
        Self(name.0)
    }
}

fn text(octets: &[u8]) -> Result<ByteString, TopicError> {
    let text = std::str::from_utf8(octets).map_err(|_| TopicError::NotUtf8)?;
    check_common(text)?;
    Ok(ByteString::from(text))
}

fn check_common(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_OCTETS {
        return Err(TopicError::TooLong);
    }
    // MQTT only forbids U+0000, and leaves it to the broker to close the connection for the others (MQTT 5 §1.5.4);
    // Mosquitto does, for all clients of the gateway at once.
    if text.contains(char::is_control) {
        return Err(TopicError::ControlCharacter);
    }
    if text.contains(is_no_character) {
        return Err(TopicError::NonCharacter);
    }
    if text.split('/').count() > MAX_LEVELS {
        return Err(TopicError::TooDeep);
    }
    Ok(())
}

/// Code points that Unicode will never assign to a character.
fn is_no_character(c: char) -> bool {
    matches!(u32::from(c), 0xFDD0..=0xFDEF) || u32::from(c) & 0xFFFE == 0xFFFE
}

/// Checks MQTT 4.7.1: `+` alone in its level, `#` alone in the last one, and the form of a shared subscription.
fn check_filter_syntax(filter: &str) -> Result<(), TopicError> {
    let matched = match filter.strip_prefix("$share/") {
        Some(rest) => {
            let (group, matched) = rest.split_once('/').ok_or(TopicError::SharedSyntax)?;
            if group.is_empty() || matched.is_empty() || group.contains(['+', '#']) {
                return Err(TopicError::SharedSyntax);
            }
            matched
        }
        None => filter,
    };
    let mut levels = matched.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicError::HashNotLast);
        }
        if level.contains('+') && level != "+" {
            return Err(TopicError::PlusInLevel);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::topics::Tree;

    #[test]
    fn a_name_that_a_broker_would_punish_is_refused() {
        assert_eq!(TopicName::parse(b""), Err(TopicError::Empty));
        assert_eq!(TopicName::parse(b"a/+"), Err(TopicError::Wildcard));
        assert_eq!(TopicName::parse(b"a#"), Err(TopicError::Wildcard));
        for control in ["a\0b", "a\u{1}b", "a\u{7F}b", "a\u{85}b"] {
            assert_eq!(TopicName::parse(control.as_bytes()), Err(TopicError::ControlCharacter), "{control:?}");
        }
        for no_character in ["a\u{FFFE}", "\u{FDD0}", "\u{1FFFF}"] {
            assert_eq!(TopicName::parse(no_character.as_bytes()), Err(TopicError::NonCharacter), "{no_character:?}");
        }
        assert_eq!(TopicName::parse(&[b'/'; 200]), Err(TopicError::TooDeep));
        assert!(TopicName::parse(&[b'/'; 199]).is_ok());
        assert_eq!(TopicName::parse(&[0xC3]), Err(TopicError::NotUtf8));
        assert_eq!(TopicName::parse(&vec![b'a'; 65_536]), Err(TopicError::TooLong));
        assert_eq!(TopicName::parse("maison/température".as_bytes()).unwrap().as_str(), "maison/température");
    }

    #[test]
    fn a_filter_keeps_to_the_syntax_of_mqtt() {
        for good in ["#", "+", "a/+/c", "a/#", "/", "//", "$SYS/#", "$share/g/a/+", "+/+", "a/"] {
            assert!(TopicFilter::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("a#", TopicError::HashNotLast),
            ("a/#/b", TopicError::HashNotLast),
            ("#/", TopicError::HashNotLast),
            ("a+", TopicError::PlusInLevel),
            ("a/+b/c", TopicError::PlusInLevel),
            ("$share/g", TopicError::SharedSyntax),
            ("$share//a", TopicError::SharedSyntax),
            ("$share/g/", TopicError::SharedSyntax),
            ("$share/+/a", TopicError::SharedSyntax),
            ("", TopicError::Empty),
            (&"/".repeat(200), TopicError::TooDeep),
        ] {
            assert_eq!(TopicFilter::parse(bad.as_bytes()), Err(why), "{bad}");
        }
    }

    #[test]
    fn only_a_plain_filter_is_a_topic_name() {
        let name = |filter: &str| TopicFilter::parse(filter.as_bytes()).unwrap().as_name();
        assert_eq!(name("a/b").unwrap().as_str(), "a/b");
        assert_eq!(name("a/+"), None);
        assert_eq!(name("$share/g/a/b"), None);
    }

    #[test]
    fn a_short_name_has_two_octets_not_two_characters() {
        let short = |name: &str| TopicName::parse(name.as_bytes()).unwrap().as_short();
        assert_eq!(short("ab"), Some(*b"ab"));
        assert_eq!(short("é"), Some([0xC3, 0xA9]));
        assert_eq!(short("a"), None);
        assert_eq!(short("éa"), None);
    }

    #[test]
    fn a_filter_matches_level_by_level_and_as_the_tree_of_filters_does() {
        for (filter, topic, expected) in [
            ("a/+/c", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "b", false),
            ("a", "a/b", false),
            ("a/b", "a", false),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$share/g/a/+", "a/b", true),
        ] {
            let (filter, topic) =
                (TopicFilter::parse(filter.as_bytes()).unwrap(), TopicName::parse(topic.as_bytes()).unwrap());
            assert_eq!(filter.matches(&topic), expected, "{filter:?} {topic:?}");
            let mut tree = Tree::default();
            tree.insert(filter.matched_part(), ());
            let mut found = Vec::new();
            tree.matches(topic.as_str(), &mut found);
            assert_eq!(!found.is_empty(), expected, "{filter:?} {topic:?}");
        }
    }
}
