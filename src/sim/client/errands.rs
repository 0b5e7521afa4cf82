//! What a client does of its own accord, one thing after the other.

use std::time::Duration;

use super::super::dice::Dice;
use super::super::vocabulary;
use super::memory::Memory;
use super::request::{Ask, Publication, WillTarget, Wish};
use super::{Client, Deed, Hands, Quirks, State, Tale, Will};
use crate::core::topics::TopicName;
use crate::wire::{MsgId, Publish, Qos, QosField, TopicRef};

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

impl Client {
    pub(super) fn run_errand(&mut self, hands: &mut Hands<'_>) {
        if self.nature.has(Quirks::HURRIES) && hands.dice.chance(300) {
            return self.hurry(hands);
        }
        match hands.dice.below(100) {
            0..45 => {
                let publication = draw_publication(hands);
                self.begin_publish(hands, publication);
            }
            45..63 => {
                let (filter, qos) = (draw_wish(hands.dice), *hands.dice.pick(&QOS));
                self.ask(hands, Ask::Subscribe { filter, qos });
            }
            63..68 => {
                let filter = draw_wish(hands.dice);
                self.ask(hands, Ask::Unsubscribe { filter });
            }
            68..74 => publish_without_session(hands),
            74..80 if self.nature.has_will => self.change_will(hands),
            80..88 if self.nature.sleeps => {
                let seconds = *hands.dice.pick(&[5, 30, 120]);
                self.ask(hands, Ask::Sleep { seconds });
            }
            88..91 => self.ask(hands, Ask::Leave),
            91..93 => self.reboot(hands),
            93..95 => self.vanish(hands),
            95..97 => hands.deeds.push(Deed::Move),
            _ => {}
        }
    }

    /// Sends a publication under a topic id that is known by now.
    pub(super) fn publish(&mut self, hands: &mut Hands<'_>, publication: Publication, topic: TopicRef) {
        if publication.qos == Qos::AtMostOnce {
            let numbers = self.nature.has(Quirks::NUMBERS_QOS_0);
            let msg_id = if numbers { self.memory.next_msg_id() } else { MsgId::NONE };
            self.send(hands, publication.message(topic, msg_id, false));
        } else {
            self.ask(hands, Ask::Publish { publication, topic });
        }
    }

    pub(super) fn draw_will_target(&self, hands: &mut Hands<'_>) -> WillTarget {
        let topic = vocabulary::any_topic(hands.dice);
        WillTarget { topic, qos: *hands.dice.pick(&QOS), retain: hands.dice.chance(200) }
    }

    /// Chooses a new will, to be told to the gateway.
    pub(super) fn set_will(&mut self, hands: &mut Hands<'_>, target: WillTarget) {
        let mark = hands.marks.fresh();
        hands.tell(Tale::Begins { mark, qos: target.qos });
        self.will = Some(Will { target, mark });
    }

    fn begin_publish(&mut self, hands: &mut Hands<'_>, publication: Publication) {
        match topic_ref(&publication.topic, &self.memory, hands.dice) {
            Some(topic) => self.publish(hands, publication, topic),
            None => self.ask(hands, Ask::Register { publication }),
        }
    }

    fn change_will(&mut self, hands: &mut Hands<'_>) {
        match (hands.dice.below(3), self.will.take()) {
            (0, _) => self.ask(hands, Ask::UpdateWillTopic { will: None }),
            (1, Some(will)) => {
                // The message stays, and so does the mark.
                let target = WillTarget { topic: will.target.topic.clone(), ..self.draw_will_target(hands) };
                self.will = Some(Will { target: target.clone(), ..will });
                self.ask(hands, Ask::UpdateWillTopic { will: Some(target) });
            }
            (_, Some(will)) => {
                self.set_will(hands, will.target);
                let message = self.will.as_ref().map(|will| will.mark.payload(0)).unwrap_or_default();
                self.ask(hands, Ask::UpdateWillMessage { message });
            }
            (_, None) => {}
        }
    }

    /// Publishes several messages without waiting, and disconnects at once.
    fn hurry(&mut self, hands: &mut Hands<'_>) {
        for _ in 0..=hands.dice.below(4) {
            let publication = draw_publication(hands);
            if let Some(topic) = topic_ref(&publication.topic, &self.memory, hands.dice) {
                let msg_id = self.memory.next_msg_id();
                self.send(hands, publication.message(topic, msg_id, false));
            }
        }
        if hands.dice.chance(500) {
            self.ask(hands, Ask::Leave);
        }
    }

    /// Power is lost, and with it all memory.
    fn reboot(&mut self, hands: &mut Hands<'_>) {
        let restarts = self.nature.has(Quirks::RESTARTS_IDS);
        let last_msg_id = if restarts { 0 } else { u16::from_be_bytes([hands.dice.octet(), hands.dice.octet()]) };
        self.memory = Memory::starting_after(last_msg_id);
        hands.tell(Tale::Forgot);
        let pause = hands.dice.between(Duration::from_millis(500), Duration::from_secs(20));
        self.state = State::Off { until: hands.now + pause };
    }

    /// Out of reach, for longer than its keep-alive or shorter.
    fn vanish(&mut self, hands: &mut Hands<'_>) {
        let pause = hands.dice.between(Duration::from_secs(1), Duration::from_secs(400));
        self.state = State::Off { until: hands.now + pause };
    }
}

fn draw_publication(hands: &mut Hands<'_>) -> Publication {
    let qos = *hands.dice.pick(&QOS);
    draw_publication_at(hands, qos)
}

fn draw_publication_at(hands: &mut Hands<'_>, qos: Qos) -> Publication {
    let mark = hands.marks.fresh();
    let topic = vocabulary::any_topic(hands.dice);
    hands.tell(Tale::Begins { mark, qos });
    let payload = mark.payload(vocabulary::any_length(hands.dice));
    Publication { mark, topic, payload, qos, retain: hands.dice.chance(150), healed: false }
}

fn draw_wish(dice: &mut Dice) -> Wish {
    let filter = vocabulary::any_filter(dice);
    let predefined = vocabulary::predefined_id(filter.as_str()).filter(|_| dice.chance(500));
    Wish { filter, predefined }
}

/// Names a topic without registering it, if that can be done.
fn topic_ref(topic: &TopicName, memory: &Memory, dice: &mut Dice) -> Option<TopicRef> {
    let predefined = vocabulary::predefined_id(topic.as_str()).map(TopicRef::Predefined);
    let short = topic.as_short().map(TopicRef::Short);
    let unregistered = predefined.or(short).filter(|_| dice.chance(700));
    unregistered.or_else(|| memory.id(topic).map(TopicRef::Normal))
}

/// QoS -1 (MQTT-SN 1.2 §6.8).
pub(super) fn publish_without_session(hands: &mut Hands<'_>) {
    let publication = draw_publication_at(hands, Qos::AtMostOnce);
    let predefined = vocabulary::predefined_id(publication.topic.as_str()).map(TopicRef::Predefined);
    if let Some(topic) = predefined.or_else(|| publication.topic.as_short().map(TopicRef::Short)) {
        let Publication { retain, payload, .. } = &publication;
        let (qos, msg_id) = (QosField::MinusOne, MsgId::NONE);
        hands.send(&Publish { dup: false, qos, retain: *retain, topic, msg_id, data: payload }.into());
    }
}
