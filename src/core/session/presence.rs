//! The phases of a session: where the client is, and how long it may be silent (MQTT-SN 1.2 figure 4).

use std::time::Duration;

use super::will::WillTarget;
use crate::core::Instant;
use crate::core::route::Route;

/// A phase owns what is valid only in it.
#[derive(Debug)]
pub(super) enum Phase {
    /// Has asked to connect and got no CONNACK yet.
    Handshake(Handshake),
    /// Connected; silence is measured against the keep-alive.
    Active(Presence),
    /// Asleep; messages wait; silence is measured against the sleep duration.
    Asleep(Presence),
    /// Asleep, but listening until it gets PINGRESP, which comes after `left` more messages at the latest.
    Awake { presence: Presence, left: usize },
    /// Disconnected or lost, with a persistent session that is kept until `expires`.
    Away { expires: Instant },
    /// Nothing is kept; the table removes the session.
    Over,
}

/// A CONNECT that is not answered yet (MQTT-SN 1.2 §6.2).
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) presence: Presence,
    pub(super) former: Former,
    /// The Duration of the CONNECT.
    pub(super) keep_alive: u16,
    pub(super) step: HandshakeStep,
    /// When the client is asked again, or the broker has been waited for long enough.
    pub(super) due: Instant,
    pub(super) resends: u8,
}

/// Where the client was when it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// Connected and awake, and so supervised: if nothing more is heard from it, it is lost.
    Active,
    /// The same, and it slept: its CONNECT is how it wakes up.
    Asleep,
    Away,
}

/// What a CONNECT waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HandshakeStep {
    /// The client has to send WILLTOPIC.
    WillTopic,
    /// The client has to send WILLMSG.
    WillMessage(WillTarget),
    /// The client's own connection to the broker is being opened.
    Broker,
}

/// A client that can be reached.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) route: Route,
    pub(super) heard: Instant,
    /// Silence after which the client is lost; `None`: never.
    pub(super) silence: Option<Duration>,
}

impl Former {
    pub(super) fn is_connected(self) -> bool {
        match self {
            Self::Active | Self::Asleep => true,
            Self::Away => false,
        }
    }
}

impl Presence {
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.silence.map(|silence| self.heard + silence)
    }

    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.lost_at().is_some_and(|at| at <= now)
    }
}

impl Phase {
    pub(super) fn presence(&self) -> Option<&Presence> {
        match self {
            Self::Active(presence) | Self::Asleep(presence) | Self::Awake { presence, .. } => Some(presence),
            Self::Handshake(handshake) => Some(&handshake.presence),
            Self::Away { .. } | Self::Over => None,
        }
    }

    pub(super) fn presence_mut(&mut self) -> Option<&mut Presence> {
        match self {
            Self::Active(presence) | Self::Asleep(presence) | Self::Awake { presence, .. } => Some(presence),
            Self::Handshake(handshake) => Some(&mut handshake.presence),
            Self::Away { .. } | Self::Over => None,
        }
    }

    /// Where the client is, or was before it asked to connect.
    pub(super) fn former(&self) -> Former {
        match self {
            Self::Active(_) => Former::Active,
            Self::Asleep(_) | Self::Awake { .. } => Former::Asleep,
            Self::Handshake(handshake) => handshake.former,
            Self::Away { .. } | Self::Over => Former::Away,
        }
    }

    /// Any message counts as a sign of life.
    pub(super) fn hear(&mut self, now: Instant) {
        if let Some(presence) = self.presence_mut() {
            presence.heard = now;
        }
    }

    /// Whether messages may be sent to the client now.
    pub(super) fn listens(&self) -> bool {
        matches!(self, Self::Active(_) | Self::Awake { .. })
    }

    /// Active, asleep or awake to asleep, with a new duration if one is given. The timer starts anew.
    pub(super) fn sleep(&mut self, now: Instant, silence: Option<Duration>) {
        if let Some(mut presence) = self.take_presence() {
            presence.heard = now;
            presence.silence = silence.or(presence.silence);
            *self = Self::Asleep(presence);
        }
    }

    /// Asleep to awake, for at most `left` messages; a client that is awake already goes on with what it has left.
    pub(super) fn wake(&mut self, now: Instant, left: usize) {
        let left = if let Self::Awake { left, .. } = self { *left } else { left };
        if let Some(mut presence) = self.take_presence() {
            presence.heard = now;
            *self = Self::Awake { presence, left };
        }
    }

    /// Whether a sleeping client has got as many messages as it may in one wake-up.
    pub(super) fn has_had_enough(&self) -> bool {
        matches!(self, Self::Awake { left: 0, .. })
    }

    pub(super) fn count_message(&mut self) {
        if let Self::Awake { left, .. } = self {
            *left = left.saturating_sub(1);
        }
    }

    /// To away. Returns the route left behind.
    pub(super) fn depart(&mut self, expires: Instant) -> Option<Route> {
        let presence = self.take_presence();
        *self = Self::Away { expires };
        presence.map(|presence| presence.route)
    }

    /// To the end. Returns the route left behind.
    pub(super) fn end(&mut self) -> Option<Route> {
        let presence = self.take_presence();
        *self = Self::Over;
        presence.map(|presence| presence.route)
    }

    /// Takes the presence out and leaves `Over`; a phase without one stays as it is.
    fn take_presence(&mut self) -> Option<Presence> {
        match std::mem::replace(self, Self::Over) {
            Self::Active(presence) | Self::Asleep(presence) | Self::Awake { presence, .. } => Some(presence),
            Self::Handshake(handshake) => Some(handshake.presence),
            other @ (Self::Away { .. } | Self::Over) => {
                *self = other;
                None
            }
        }
    }
}
