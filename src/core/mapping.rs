//! Where a client's topics stand in the broker's tree: under a prefix that may name the client.

use bytestring::ByteString;

use super::topics::{TopicError, TopicFilter, TopicName};

/// What stands for the client id in the prefix of a message that has none: QoS -1.
const ANONYMOUS: &str = "anonymous";

/// The prefix as configured, with `{client_id}` where the client's id goes: `/ + # $ %` in it as `%2F`, `%2B` and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixTemplate(String);

/// One client's prefix; often empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix(ByteString);

impl PrefixTemplate {
    /// Parses a template. Everything but `{client_id}` must do as a part of a topic name.
    pub fn parse(template: &str) -> Result<Self, TopicError> {
        if !template.is_empty() {
            TopicName::parse(template.replace("{client_id}", ANONYMOUS).as_bytes())?;
        }
        Ok(Self(template.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of_client(&self, client_id: &str) -> Prefix {
        if !self.0.contains("{client_id}") {
            return Prefix(ByteString::from(self.0.as_str()));
        }
        Prefix(self.0.replace("{client_id}", &level(client_id)).into())
    }

    pub(super) fn of_nobody(&self) -> Prefix {
        Prefix(self.0.replace("{client_id}", ANONYMOUS).into())
    }
}

/// Makes one level out of a client id, and another one out of each: what has a meaning in topics is written as in
/// URLs, and so is the `a` of a client that calls itself as nobody is called.
fn level(client_id: &str) -> String {
    if client_id == ANONYMOUS {
        return client_id.replacen('a', "%61", 1);
    }
    let mut level = String::with_capacity(client_id.len());
    for character in client_id.chars() {
        match character {
            '/' => level.push_str("%2F"),
            '+' => level.push_str("%2B"),
            '#' => level.push_str("%23"),
            '$' => level.push_str("%24"),
            '%' => level.push_str("%25"),
            other => level.push(other),
        }
    }
    level
}

impl Prefix {
    /// Returns the broker's name of a client's topic.
    pub(super) fn up(&self, name: &TopicName) -> Result<TopicName, TopicError> {
        if self.0.is_empty() {
            return Ok(name.clone());
        }
        TopicName::from_shared(format!("{}{}", self.0, name.as_str()).into())
    }

    /// Returns the broker's form of a client's filter.
    pub(super) fn up_filter(&self, filter: &TopicFilter) -> Result<TopicFilter, TopicError> {
        if self.0.is_empty() {
            return Ok(filter.clone());
        }
        let matched = filter.matched_part();
        let group = filter.as_str().strip_suffix(matched).unwrap_or_default();
        TopicFilter::parse(format!("{group}{}{matched}", self.0).as_bytes())
    }

    /// Returns the client's name of a broker's topic, or `None` if it lies outside the prefix.
    pub(super) fn down(&self, name: &TopicName) -> Option<TopicName> {
        if self.0.is_empty() {
            return Some(name.clone());
        }
        let rest = name.as_str().strip_prefix(&*self.0)?;
        TopicName::from_shared(name.as_shared().slice_ref(rest)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_prefix_goes_in_front_upwards_and_comes_off_downwards() {
        let prefix = PrefixTemplate::parse("site/{client_id}/").unwrap().of_client("pump");
        assert_eq!(prefix.up(&name("temp")).unwrap(), name("site/pump/temp"));
        assert_eq!(prefix.down(&name("site/pump/temp")), Some(name("temp")));
        assert_eq!(prefix.down(&name("site/valve/temp")), None);
        let filter = |text: &str| TopicFilter::parse(text.as_bytes()).unwrap();
        assert_eq!(prefix.up_filter(&filter("+/x")).unwrap(), filter("site/pump/+/x"));
        assert_eq!(prefix.up_filter(&filter("$share/g/x")).unwrap(), filter("$share/g/site/pump/x"));
    }

    #[test]
    fn no_client_id_reaches_out_of_its_level() {
        let template = PrefixTemplate::parse("{client_id}/").unwrap();
        assert_eq!(template.of_client("a/#/+").up(&name("t")).unwrap(), name("a%2F%23%2F%2B/t"));
        let group = template.of_client("$share").up_filter(&TopicFilter::parse(b"g/t").unwrap());
        assert_eq!(group.unwrap().shared_group(), None);
    }

    #[test]
    fn no_two_clients_share_a_tree() {
        let template = PrefixTemplate::parse("{client_id}/").unwrap();
        let ids = ["a/b", "a_b", "a%2Fb", "a%252Fb", "a%b", "a+b", "a#b", "$a", "%24a", "anonymous", "%61nonymous"];
        let mut trees: Vec<Prefix> = ids.iter().map(|id| template.of_client(id)).collect();
        trees.push(template.of_nobody());
        for (at, tree) in trees.iter().enumerate() {
            assert!(!trees[..at].contains(tree), "{tree:?}");
        }
    }

    #[test]
    fn a_template_that_no_topic_can_begin_with_is_refused() {
        assert_eq!(PrefixTemplate::parse("a/#/"), Err(TopicError::Wildcard));
        assert!(PrefixTemplate::parse("").is_ok());
    }
}
