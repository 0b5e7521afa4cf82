//! Sessions for people: a table, a page about one of them, and what became of it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use super::source::{Forgotten, GatewayState};
use crate::app::store_words::counted;
use crate::ops::control::{SessionDetails, SessionSummary};

const HEADER: [&str; 10] =
    ["CLIENT", "STATE", "SESSION", "ADDRESS", "HEARD", "ENDS", "TOPICS", "SUBSCRIPTIONS", "WAITING", "FOR THE BROKER"];

/// From this column on there are numbers, which stand at the right.
const NUMBERS: usize = 6;

/// Writes a table with a line for each session, and what they come to.
pub(super) fn write_list(out: &mut impl Write, sessions: &[SessionSummary], state: GatewayState) -> io::Result<()> {
    if sessions.is_empty() {
        return writeln!(
            out,
            "{}",
            match state {
                GatewayState::Running => "No device has a session with the gateway.",
                GatewayState::Stopped => "The gateway is stopped, and no device has a session that it will take up.",
            }
        );
    }
    let rows: Vec<[String; 10]> = sessions.iter().map(row).collect();
    let mut widths = HEADER.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    write_row(out, &HEADER.map(str::to_owned), &widths)?;
    rows.iter().try_for_each(|row| write_row(out, row, &widths))?;
    writeln!(out, "\n{}", sum(sessions))?;
    match state {
        GatewayState::Running => Ok(()),
        GatewayState::Stopped => writeln!(out, "The gateway is stopped; it takes this up when it starts."),
    }
}

/// Writes how many messages are kept whose senders have no session any more, if there are any.
pub(super) fn write_ownerless(out: &mut impl Write, messages: usize) -> io::Result<()> {
    match messages {
        0 => Ok(()),
        messages => writeln!(
            out,
            "For the broker it keeps {} of devices that have no session any more.",
            counted(messages, "message", "messages")
        ),
    }
}

/// Writes what is in one session.
pub(super) fn write_details(out: &mut impl Write, session: &SessionDetails, state: GatewayState) -> io::Result<()> {
    let SessionDetails { summary, will, topic_names, filters, queue } = session;
    let mut line = |what: &str, text: String| writeln!(out, "{what:<14} {text}");
    line("client", plain(&summary.client_id))?;
    line("session", format!("{}, {}{}", kind(summary), summary.state.name(), whereabouts(summary, state)))?;
    if let Some(will) = will {
        let retained = if will.retain { ", retained" } else { "" };
        line("will", format!("{} (QoS {}{retained}, {} octets)", plain(&will.topic), will.qos, will.octets))?;
    }
    let topics = topic_names.iter().map(|topic| format!("{} = {}", topic.id, plain(&topic.name)));
    let filters = filters.iter().map(|filter| format!("{} (QoS {})", plain(&filter.filter), filter.qos));
    let waiting = queue.iter().map(|message| {
        let left = message.seconds_left.map(|left| format!(", for {} at most", span(left))).unwrap_or_default();
        format!("{} (QoS {}, {} octets{left})", plain(&message.topic), message.qos, message.octets)
    });
    let unseen = summary.queued.saturating_sub(queue.len());
    let waiting = waiting.chain((unseen > 0).then(|| format!("and {unseen} more")));
    for (what, items) in
        [("topics", topics.collect::<Vec<_>>()), ("subscriptions", filters.collect()), ("waiting", waiting.collect())]
    {
        let labels = std::iter::once(what).chain(std::iter::repeat(""));
        if items.is_empty() {
            line(what, "none".to_owned())?;
        }
        labels.zip(items).try_for_each(|(label, item)| line(label, item))?;
    }
    if summary.publishes > 0 {
        line("under way", format!("{} from the device", counted(summary.publishes, "publish", "publishes")))?;
    }
    if summary.kept_for_broker > 0 {
        line("for the broker", counted(summary.kept_for_broker, "message", "messages"))?;
    }
    Ok(())
}

/// Writes what became of a session.
pub(super) fn write_forgotten(out: &mut impl Write, client: &str, forgotten: &Forgotten) -> io::Result<()> {
    writeln!(out, "The session of {client:?} has ended; nothing of it is kept.")?;
    match forgotten.kept_for_broker {
        0 => Ok(()),
        kept => writeln!(
            out,
            "{} that the gateway has accepted from it and the broker does not have yet will go out all the same.",
            counted(kept, "message", "messages")
        ),
    }
}

fn row(session: &SessionSummary) -> [String; 10] {
    let nothing = || "-".to_owned();
    let waiting = match session.queued {
        0 => "0".to_owned(),
        queued => format!("{queued} ({} octets)", session.queued_octets),
    };
    [
        plain(&session.client_id),
        session.state.name().to_owned(),
        kind(session).to_owned(),
        session.address.clone().unwrap_or_else(nothing),
        session.silent_seconds.map_or_else(nothing, |silent| format!("{} ago", span(silent))),
        session.seconds_left.map_or_else(nothing, |left| format!("in {}", span(left))),
        session.topics.to_string(),
        session.subscriptions.to_string(),
        waiting,
        session.kept_for_broker.to_string(),
    ]
}

fn write_row(out: &mut impl Write, cells: &[String; 10], widths: &[usize; 10]) -> io::Result<()> {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let cell = if column < NUMBERS { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
        line.push_str(&cell);
    }
    writeln!(out, "{}", line.trim_end())
}

fn sum(sessions: &[SessionSummary]) -> String {
    let mut states = BTreeMap::<_, usize>::new();
    sessions.iter().for_each(|session| *states.entry(session.state).or_default() += 1);
    let states: Vec<String> = states.into_iter().map(|(state, number)| format!("{number} {}", state.name())).collect();
    let queued: usize = sessions.iter().map(|session| session.queued).sum();
    let kept: usize = sessions.iter().map(|session| session.kept_for_broker).sum();
    let messages = |number| counted(number, "message", "messages");
    format!(
        "{}: {}. {} for devices, {} for the broker.",
        counted(sessions.len(), "session", "sessions"),
        states.join(", "),
        messages(queued),
        messages(kept)
    )
}

fn kind(session: &SessionSummary) -> &'static str {
    if session.persistent { "persistent" } else { "clean" }
}

/// Where the client is and how long it may stay there.
fn whereabouts(session: &SessionSummary, state: GatewayState) -> String {
    let address = session.address.as_ref().map(|address| format!(", at {address}")).unwrap_or_default();
    let heard = session.silent_seconds.map(|silent| format!(", heard {} ago", span(silent))).unwrap_or_default();
    let end = match (session.seconds_left, &session.address, state) {
        (Some(left), Some(_), _) => format!(", lost after {} more of silence", span(left)),
        (Some(left), None, _) => format!(", kept for {} more", span(left)),
        (None, Some(_), GatewayState::Stopped) => ", with its full time to be heard when the gateway starts".to_owned(),
        (None, ..) => String::new(),
    };
    format!("{address}{heard}{end}")
}

/// Text from a device in one line: what could move the cursor is escaped.
fn plain(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// A time in its two largest units.
fn span(seconds: u64) -> String {
    let words = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::control::{QueuedMessage, SessionState};

    fn session(client_id: &str, state: SessionState) -> SessionSummary {
        SessionSummary {
            client_id: client_id.to_owned(),
            state,
            persistent: state == SessionState::Away,
            address: (state != SessionState::Away).then(|| "UDP 10.0.0.7:5000".to_owned()),
            silent_seconds: (state != SessionState::Away).then_some(3),
            seconds_left: Some(187_200),
            topics: 1,
            subscriptions: 2,
            publishes: 0,
            queued: 1,
            queued_octets: 14,
            kept_for_broker: 2,
        }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let sessions = [session("온도", SessionState::Active), session("valve-12", SessionState::Away)];
        let table = text(|out| write_list(out, &sessions, GatewayState::Running));
        let columns: Vec<usize> = table.lines().take(3).map(|line| line.chars().count()).collect();
        assert_eq!(columns[0], columns[1], "{table}");
        assert_eq!(columns[1], columns[2], "{table}");
        assert!(table.contains("valve-12  away    persistent  -                  -       in 2days 4h"), "{table}");
        assert!(
            table.ends_with("\n2 sessions: 1 active, 1 away. 2 messages for devices, 4 messages for the broker.\n")
        );
    }

    #[test]
    fn a_client_id_cannot_move_the_cursor() {
        let sessions = [session("a\u{1b}[2J\nb\"c", SessionState::Active)];
        let table = text(|out| write_list(out, &sessions, GatewayState::Stopped));
        assert!(table.contains("a\\u{1b}[2J\\nb\"c "), "{table}");
    }

    #[test]
    fn a_long_queue_says_how_much_more_there_is() {
        let message = QueuedMessage { topic: "a/b".into(), qos: 1, octets: 2, seconds_left: Some(60) };
        let details = SessionDetails {
            summary: SessionSummary { queued: 3, ..session("c1", SessionState::Away) },
            will: None,
            topic_names: Vec::new(),
            filters: Vec::new(),
            queue: vec![message],
        };
        let page = text(|out| write_details(out, &details, GatewayState::Running));
        assert!(
            page.contains("waiting        a/b (QoS 1, 2 octets, for 1m at most)\n               and 2 more\n"),
            "{page}"
        );
        assert!(page.contains("session        persistent, away, kept for 2days 4h more\n"), "{page}");
        assert!(page.contains("for the broker 2 messages\n"), "{page}");
    }
}
