//! A link that is gone takes nobody's session away: its clients are kept as sleepers are, and go on when it is back.

use super::presence::{HandshakeStep, Phase, Presence};
use super::{LossReason, Session};
use crate::core::Instant;
use crate::core::context::Context;

impl Session {
    /// Whether messages may be sent to the client now.
    pub(super) fn listens(&self) -> bool {
        self.cut_off.is_none() && self.phase.listens()
    }

    /// Returns when the client counts as lost if nothing is heard of it. While its link is down it can say nothing, so
    /// that silence only counts once the wait for the link is over too.
    pub(super) fn lost_at(&self, presence: &Presence) -> Option<Instant> {
        let silent_until = presence.lost_at()?;
        Some(self.cut_off.map_or(silent_until, |kept_until| silent_until.max(kept_until)))
    }

    /// Returns what a client is lost for that has exceeded `usual`, its time in this phase.
    pub(super) fn loss_reason(&self, usual: LossReason) -> LossReason {
        match self.cut_off {
            Some(_) => LossReason::LinkDown,
            None => usual,
        }
    }

    /// The client's link is gone: nothing is sent any more, and what comes waits as it does for a sleeper.
    pub(in crate::core) fn on_link_down(&mut self, cx: &mut Context<'_>) {
        if self.cut_off.is_some() {
            return;
        }
        let kept_until = cx.now + cx.settings.timers.link_wait;
        self.cut_off = Some(kept_until);
        match &mut self.phase {
            Phase::Handshake(handshake) if handshake.step != HandshakeStep::Broker => handshake.due = kept_until,
            Phase::Awake { .. } => self.phase.sleep(cx.now, None),
            Phase::Handshake(_) | Phase::Active(_) | Phase::Asleep(_) | Phase::Away { .. } | Phase::Over => {}
        }
        self.outbox.pause();
        self.shelve_queued(cx);
    }

    /// The client's link is back if it was down: the client goes on where it was, and has its full time to be heard.
    pub(in crate::core) fn on_link_up(&mut self, cx: &mut Context<'_>) {
        if self.cut_off.take().is_none() {
            return;
        }
        self.phase.hear(cx.now);
        match &mut self.phase {
            Phase::Handshake(handshake) if handshake.step != HandshakeStep::Broker => {
                handshake.resends = 0;
                self.prompt_for_will(cx);
            }
            Phase::Active(_) => self.resume_delivery(cx),
            Phase::Handshake(_) | Phase::Asleep(_) | Phase::Awake { .. } | Phase::Away { .. } | Phase::Over => {}
        }
    }
}
