//! A client that sleeps: the gateway keeps its messages and hands them out when it wakes up (MQTT-SN 1.2 §6.14).

use super::io::{Event, Loss, SleepPlan};
use super::retry::{Retry, Verdict};
use super::session::Context;
use super::{deliver, send};
use crate::core::Instant;
use crate::wire::{Disconnect, Message, MsgType, PingReq};

/// The sleep of one client, wake-ups included.
#[derive(Debug)]
pub(super) struct Sleep {
    plan: SleepPlan,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Waits for the gateway's DISCONNECT.
    FallingAsleep(Retry),
    /// Hears nothing.
    Asleep { wakes_at: Instant },
    /// Takes messages until PINGRESP.
    Awake(Retry),
}

impl Sleep {
    pub(super) fn begin(context: &mut Context<'_>, plan: SleepPlan) -> Self {
        send(goodnight(plan), context.out);
        Self { plan, step: Step::FallingAsleep(context.retry()) }
    }

    pub(super) fn receive(&mut self, context: &mut Context<'_>, message: &Message<'_>) -> Result<(), Loss> {
        match &mut self.step {
            Step::FallingAsleep(_) => {
                if let Message::Disconnect(_) = message {
                    self.fall_asleep(context);
                } else {
                    // It was on its way before the gateway knew.
                    deliver::receive(context, message);
                }
            }
            // A device would have its radio off.
            Step::Asleep { .. } => {}
            Step::Awake(retry) => {
                if let Message::PingResp(_) = message {
                    self.fall_asleep(context);
                } else if let Message::Disconnect(_) = message {
                    return Err(Loss::EndedByGateway);
                } else if deliver::receive(context, message) {
                    // The gateway has heard us, and is not done.
                    *retry = context.retry();
                }
            }
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, context: &mut Context<'_>) -> Result<(), Loss> {
        match &mut self.step {
            Step::FallingAsleep(retry) => match retry.poll(context.now) {
                Verdict::Wait => {}
                Verdict::SendAgain => send(goodnight(self.plan), context.out),
                Verdict::GiveUp => return Err(retry.no_answer_to(MsgType::Disconnect)),
            },
            Step::Asleep { wakes_at } if *wakes_at <= context.now => {
                send(here_i_am(context), context.out);
                self.step = Step::Awake(context.retry());
            }
            Step::Asleep { .. } => {}
            Step::Awake(retry) => match retry.poll(context.now) {
                Verdict::Wait => {}
                Verdict::SendAgain => send(here_i_am(context), context.out),
                Verdict::GiveUp => return Err(retry.no_answer_to(MsgType::PingReq)),
            },
        }
        Ok(())
    }

    pub(super) fn next_deadline(&self) -> Instant {
        match &self.step {
            Step::FallingAsleep(retry) | Step::Awake(retry) => retry.due(),
            Step::Asleep { wakes_at } => *wakes_at,
        }
    }

    fn fall_asleep(&mut self, context: &mut Context<'_>) {
        self.step = Step::Asleep { wakes_at: context.now + self.plan.wake_every };
        context.tell(Event::Asleep);
    }
}

fn goodnight(plan: SleepPlan) -> Disconnect {
    Disconnect { duration: Some(plan.seconds) }
}

/// The id lets the gateway recognise a client whose address has changed meanwhile.
fn here_i_am<'a>(context: &Context<'a>) -> PingReq<'a> {
    PingReq { client_id: context.settings.client_id.as_bytes() }
}
