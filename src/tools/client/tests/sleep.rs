//! A client that sleeps and wakes up (MQTT-SN 1.2 §6.14).

use super::*;

const PLAN: SleepPlan = SleepPlan { seconds: 300, wake_every: Duration::from_secs(250) };

/// A client "sensor-01" that has just fallen asleep.
fn asleep() -> Dialogue {
    let mut dialogue = Dialogue::new(|settings| {
        settings.client_id = "sensor-01".to_owned();
        settings.keep_alive = 300;
        settings.clean_session = false;
    });
    dialogue.ask(Request::Connect).client("0f040001012c73656e736f722d3031").gateway("030500").event(Event::Connected);
    dialogue.ask(Request::Sleep(PLAN)).client("0418012c").gateway("0218").event(Event::Asleep);
    dialogue
}

#[test]
fn a_sleeping_client_takes_what_has_come_and_sleeps_again() {
    let mut dialogue = asleep();
    for _ in 0..2 {
        dialogue
            .wait(PLAN.wake_every)
            .client("0b1673656e736f722d3031")
            .gateway("0b0a01020001612f622f63")
            .client("070b0102000100")
            .gateway("080c200102000278")
            .event(message(named("a/b/c"), "x", Qos::AtLeastOnce, 2))
            .client("070d0102000200")
            .gateway("0217")
            .event(Event::Asleep);
    }
    dialogue.ask(Request::Disconnect).client("0218").gateway("0218").event(Event::Disconnected);
}

#[test]
fn what_comes_before_the_gateway_knows_of_the_sleep_is_taken() {
    Dialogue::connected()
        .ask(Request::Sleep(PLAN))
        .client("0418012c")
        .gateway("080c226162000478")
        .event(message(Topic::Short(*b"ab"), "x", Qos::AtLeastOnce, 4))
        .client("070d6162000400")
        .gateway("0218")
        .event(Event::Asleep);
}

#[test]
fn a_sleeping_client_hears_nothing() {
    asleep().gateway("0218").gateway("0216").gateway("080c226162000478").quiet();
}

#[test]
fn a_gateway_that_has_forgotten_the_sleeper_says_so_at_its_wake_up() {
    asleep()
        .wait(PLAN.wake_every)
        .client("0b1673656e736f722d3031")
        .gateway("0218")
        .event(Event::Lost(Loss::EndedByGateway));
}

#[test]
fn a_wake_up_is_repeated_until_the_gateway_answers_and_then_waits_anew() {
    asleep()
        .wait(PLAN.wake_every)
        .client("0b1673656e736f722d3031")
        .wait(T_RETRY)
        .client("0b1673656e736f722d3031")
        .gateway("080c026162000078")
        .event(message(Topic::Short(*b"ab"), "x", Qos::AtMostOnce, 0))
        .wait(T_RETRY)
        .client("0b1673656e736f722d3031")
        .gateway("0217")
        .event(Event::Asleep);
}

#[test]
fn a_sleep_that_the_gateway_does_not_confirm_is_a_lost_session() {
    let mut dialogue = Dialogue::connected();
    dialogue.ask(Request::Sleep(PLAN)).client("0418012c");
    for _ in 0..3 {
        dialogue.wait(T_RETRY).client("0418012c");
    }
    dialogue.wait(T_RETRY).event(Event::Lost(Loss::NoAnswer { to: MsgType::Disconnect, times: 4 })).quiet();
}

#[test]
fn a_client_falls_asleep_when_its_request_is_settled_and_makes_none_in_its_sleep() {
    let mut dialogue = Dialogue::connected();
    assert_eq!(dialogue.try_to(publish(Topic::Short(*b"ab"), "x", Qos::AtLeastOnce)), Ok(()));
    dialogue.client("080c226162000178");
    assert_eq!(dialogue.try_to(Request::Sleep(PLAN)), Err(RequestError::Busy));
    dialogue.gateway("070d6162000100").event(Event::Published);
    dialogue.ask(Request::Sleep(PLAN)).client("0418012c").gateway("0218").event(Event::Asleep);
    assert_eq!(dialogue.try_to(subscribe(filter("#"), Qos::AtMostOnce)), Err(RequestError::NotConnected));
}
