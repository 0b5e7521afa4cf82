// The client, frame by frame, with a clock made of numbers. Each test reads like a dialogue.

#include <mqttsn_client.h>
#include <string.h>

#include <deque>
#include <vector>

#include "check.h"

using mqttsn::Qos;
using mqttsn::State;
using mqttsn::Topic;
using mqttsn::Trouble;

namespace {

// The gateway, as the test plays it.
class Gateway final : public mqttsn::Link {
 public:
  void send(const uint8_t* frame, uint8_t length) override { heard_.push_back(Octets(frame, frame + length)); }

  const uint8_t* receive(uint8_t& length) override {
    if (said_.empty()) return nullptr;
    frame_ = said_.front();
    said_.pop_front();
    length = static_cast<uint8_t>(frame_.size());
    return frame_.data();
  }

  std::deque<Octets> heard_;
  std::deque<Octets> said_;

 private:
  Octets frame_;
};

std::vector<std::string> messages;

void on_message(const char* topic, const uint8_t* payload, uint8_t length) {
  messages.push_back(std::string(topic) + " " + std::string(reinterpret_cast<const char*>(payload), length));
}

template <class Enum>
std::string number(Enum value) {
  return std::to_string(static_cast<int>(value));
}

class Scene {
 public:
  explicit Scene(const char* title)
      : title_(title),
        publishes_{"a/b", "a/c"},
        subscribes_{"d", "e/#"},
        client_(gateway_, "n1", publishes_, subscribes_, on_message) {
    messages.clear();
  }

  // The gateway says something, or only time passes; the client is polled until it is quiet.
  Scene& says(const char* frame) {
    gateway_.said_.push_back(octets(frame));
    return passes(0);
  }
  Scene& passes(uint32_t ms) {
    now_ += ms;
    for (int poll = 0; poll < 4; ++poll) client_.poll(now_);
    return *this;
  }
  // The next frame from the client.
  Scene& hears(const char* frame) {
    same(gateway_.heard_.empty() ? "nothing" : hex(gateway_.heard_.front()), hex(octets(frame)), title_);
    gateway_.heard_.pop_front();
    return *this;
  }
  Scene& hears_nothing() {
    same(gateway_.heard_.empty() ? "nothing" : hex(gateway_.heard_.front()), "nothing", title_);
    return *this;
  }
  Scene& is(State state) {
    same(number(client_.state()), number(state), title_ + ": state");
    return *this;
  }
  Scene& is_told(const char* message) {
    same(messages.empty() ? "nothing" : messages.front(), message, title_);
    messages.erase(messages.begin());
    return *this;
  }
  Scene& is_told_nothing() {
    same(messages.empty() ? "nothing" : messages.front(), "nothing", title_);
    return *this;
  }
  Scene& suffers(Trouble trouble) {
    same(number(client_.take_trouble()), number(trouble), title_ + ": trouble");
    return *this;
  }
  Scene& publishes(const char* payload, Qos qos) {
    const bool taken = client_.publish(0, payload, static_cast<uint8_t>(strlen(payload)), qos);
    same(taken ? "taken" : "refused", "taken", title_ + ": publish");
    return passes(0);
  }
  Scene& refuses_to_publish(uint8_t topic, uint8_t length) {
    const uint8_t payload[255] = {};
    same(client_.publish(topic, payload, length, Qos::AtLeastOnce) ? "taken" : "refused", "refused", title_);
    return *this;
  }
  Scene& sleeps() {
    same(client_.sleep(300) ? "yes" : "no", "yes", title_ + ": sleep");
    return *this;
  }
  Scene& may_not_sleep() {
    same(client_.sleep(300) ? "yes" : "no", "no", title_ + ": sleep");
    return *this;
  }
  Scene& wakes() {
    client_.wake(now_);
    return *this;
  }

  // From the start to Active; message ids 1 to 4, topic ids 1 and 2, 3 for "d".
  Scene& connects() {
    passes(0).hears(CONNECT).says("03 05 00");
    hears("09 0A 0000 0001 'a/b'").says("07 0B 0001 0001 00");
    hears("09 0A 0000 0002 'a/c'").says("07 0B 0002 0002 00");
    hears("06 12 20 0003 'd'").says("08 13 20 0003 0003 00");
    hears("08 12 20 0004 'e/#'").says("08 13 20 0000 0004 00");
    return hears_nothing().is(State::Active).suffers(Trouble::None);
  }
  Scene& falls_asleep() { return sleeps().hears("04 18 012C").says("02 18").is(State::Asleep); }

  static const char* const CONNECT;

 private:
  std::string title_;
  Gateway gateway_;
  Topic publishes_[2];
  Topic subscribes_[2];
  mqttsn::Client client_;
  // Shortly before the clock begins again, as millis() does after 49 days.
  uint32_t now_ = 0xFFFFFF00;
};

const char* const Scene::CONNECT = "08 04 00 01 003C 'n1'";

void connecting() {
  Scene("it connects, registers and subscribes").connects();
  Scene("it repeats a request under the same message id")
      .passes(0)
      .hears(Scene::CONNECT)
      .passes(9999)
      .hears_nothing()
      .passes(1)
      .hears(Scene::CONNECT)
      .says("03 05 00")
      .hears("09 0A 0000 0001 'a/b'")
      .passes(10000)
      .hears("09 0A 0000 0001 'a/b'")
      .says("07 0B 0001 0001 00")
      .hears("09 0A 0000 0002 'a/c'")
      .says("07 0B 0002 0002 00")
      .hears("06 12 20 0003 'd'")
      .passes(10000)
      .hears("06 12 A0 0003 'd'");
  Scene scene("it connects again after Nretry repetitions");
  scene.connects().publishes("x", Qos::AtLeastOnce).hears("08 0C 20 0001 0005 'x'");
  for (int repeat = 0; repeat < 3; ++repeat) scene.passes(10000).hears("08 0C A0 0001 0005 'x'");
  scene.passes(10000).hears_nothing().is(State::Resting).suffers(Trouble::GatewaySilent);
  // The message is not given up; its topic has another id now.
  scene.passes(1000).hears(Scene::CONNECT).says("03 05 00");
  scene.hears("09 0A 0000 0006 'a/b'").says("07 0B 0009 0006 00");
  scene.hears("09 0A 0000 0007 'a/c'").says("07 0B 0002 0007 00");
  scene.hears("06 12 20 0008 'd'").says("08 13 20 0003 0008 00");
  scene.hears("08 12 20 0009 'e/#'").says("08 13 20 0000 0009 00");
  scene.hears("08 0C A0 0009 0005 'x'").says("07 0D 0009 0005 00").is(State::Active).hears_nothing();

  Scene("a refused CONNECT is repeated after Twait only")
      .passes(0)
      .hears(Scene::CONNECT)
      .says("03 05 03")
      .suffers(Trouble::ConnectRefused)
      .passes(299999)
      .hears_nothing()
      .passes(1)
      .hears(Scene::CONNECT);
  Scene("a busy gateway is left alone for Twait")
      .passes(0)
      .hears(Scene::CONNECT)
      .says("03 05 00")
      .hears("09 0A 0000 0001 'a/b'")
      .says("07 0B 0000 0001 01")
      .hears("02 18")
      .suffers(Trouble::Congestion)
      .passes(299999)
      .hears_nothing();
  Scene("a refused topic is left out")
      .passes(0)
      .hears(Scene::CONNECT)
      .says("03 05 00")
      .hears("09 0A 0000 0001 'a/b'")
      .says("07 0B 0000 0001 03")
      .suffers(Trouble::TopicRefused)
      .hears("09 0A 0000 0002 'a/c'")
      .refuses_to_publish(0, 1);
  Scene("a gateway that does not know the session is asked for a new one")
      .connects()
      .says("02 18")
      .suffers(Trouble::SessionLost)
      .hears_nothing()
      .passes(1000)
      .hears(Scene::CONNECT);
}

void publishing() {
  Scene("a message at QoS 0 goes out once")
      .connects()
      .publishes("x", Qos::AtMostOnce)
      .hears("08 0C 00 0001 0000 'x'")
      .passes(20000)
      .hears_nothing()
      .is(State::Active);
  Scene("a message at QoS 1 is done with its PUBACK, and not with another")
      .connects()
      .publishes("x", Qos::AtLeastOnce)
      .hears("08 0C 20 0001 0005 'x'")
      .says("07 0D 0001 0004 00")
      .is(State::Publishing)
      .refuses_to_publish(1, 1)
      .says("07 0D 0001 0005 00")
      .is(State::Active);
  Scene("what does not fit is refused").connects().refuses_to_publish(0, 58).refuses_to_publish(2, 1);
  Scene("an unknown topic id is registered again, once for a message")
      .connects()
      .publishes("x", Qos::AtLeastOnce)
      .hears("08 0C 20 0001 0005 'x'")
      .says("07 0D 0001 0005 02")
      .hears("09 0A 0000 0006 'a/b'")
      .says("07 0B 0007 0006 00")
      .hears("08 0C A0 0007 0005 'x'")
      .says("07 0D 0007 0005 02")
      .suffers(Trouble::PublishRefused)
      .hears("09 0A 0000 0007 'a/b'")
      .says("07 0B 0007 0007 00")
      .hears_nothing();
  Scene("an unknown topic id of a message at QoS 0 is registered again, too")
      .connects()
      .publishes("x", Qos::AtMostOnce)
      .hears("08 0C 00 0001 0000 'x'")
      .says("07 0D 0001 0000 02")
      .hears("09 0A 0000 0005 'a/b'");
  Scene("after a congestion nothing is published for Twait, but the session is kept alive")
      .connects()
      .publishes("x", Qos::AtLeastOnce)
      .hears("08 0C 20 0001 0005 'x'")
      .says("07 0D 0001 0005 01")
      .suffers(Trouble::Congestion)
      .passes(45000)
      .hears("02 16")
      .says("02 17")
      .passes(44999)
      .hears_nothing()
      .passes(1)
      .hears("02 16")
      .says("02 17")
      .passes(210000)
      .hears("08 0C A0 0001 0005 'x'");
}

void receiving() {
  Scene("a message at QoS 1 is acknowledged, and a repetition not taken twice")
      .connects()
      .says("0A 0C 20 0003 0011 'off'")
      .is_told("d off")
      .hears("07 0D 0003 0011 00")
      .says("0A 0C A0 0003 0011 'off'")
      .is_told_nothing()
      .hears("07 0D 0003 0011 00")
      .says("09 0C 20 0003 0012 'on'")
      .is_told("d on")
      .hears("07 0D 0003 0012 00");
  Scene("what a wildcard matched is named by the gateway first")
      .connects()
      .says("0A 0C 20 0011 0001 'off'")
      .hears("07 0D 0011 0001 02")
      .says("09 0A 0011 0002 'e/f'")
      .hears("07 0B 0011 0002 00")
      .says("0A 0C A0 0011 0001 'off'")
      .is_told("e/f off")
      .hears("07 0D 0011 0001 00");
  Scene("the oldest name makes room, and is asked for again")
      .connects()
      .says("09 0A 0011 0001 'e/f'")
      .hears("07 0B 0011 0001 00")
      .says("09 0A 0012 0002 'e/g'")
      .hears("07 0B 0012 0002 00")
      .says("09 0A 0013 0003 'e/h'")
      .hears("07 0B 0013 0003 00")
      .says("0A 0C 00 0012 0000 'off'")
      .is_told("e/g off")
      .says("0A 0C 00 0011 0000 'off'")
      .hears("07 0D 0011 0000 02")
      .is_told_nothing();
  Scene("a name that is too long is refused")
      .connects()
      .says("27 0A 0011 0001 'e/0123456789012345678901234567890'")
      .hears("07 0B 0011 0001 03");
  Scene("a subscribed name may get another id")
      .connects()
      .says("07 0A 0021 0001 'd'")
      .hears("07 0B 0021 0001 00")
      .says("0A 0C 00 0021 0000 'off'")
      .is_told("d off");
  Scene("a wildcard may match what is published here").connects().says("08 0C 00 0001 0000 'x'").is_told("a/b x");
  Scene("a short topic name is its own id").connects().says("08 0C 02 'ef' 0000 'x'").is_told("ef x");
  Scene("QoS 2 is not supported").connects().says("08 0C 40 0003 0001 'x'").hears("07 0D 0003 0001 03");
  Scene("what is no message is passed over")
      .connects()
      .says("09 0C 20 0003 0011 '4'")
      .says("05 0C 20 0003")
      .says("06 0A 0003 0001")
      .says("01 00")
      .says("03 63 00")
      .hears_nothing()
      .is_told_nothing()
      .is(State::Active);
  Scene("a long header is understood").connects().says("01 000A 0C 00 0003 0000 'x'").is_told("d x");
  Scene("the gateway's PINGREQ is answered").connects().says("02 16").hears("02 17");
  Scene("nothing is taken before the session is there").passes(0).hears(Scene::CONNECT).says("02 16").hears_nothing();
}

void pinging() {
  Scene("silence is broken within the keep-alive")
      .connects()
      .passes(44999)
      .hears_nothing()
      .passes(1)
      .hears("02 16")
      .says("02 17")
      .passes(44999)
      .hears_nothing();
  Scene scene("a gateway that does not answer is found out, whatever else comes");
  scene.connects().passes(45000).hears("02 16");
  for (int repeat = 0; repeat < 3; ++repeat) {
    scene.passes(5000).says("08 0C 00 0003 0000 'x'").is_told("d x").passes(5000).hears("02 16");
  }
  scene.passes(10000).suffers(Trouble::GatewaySilent);
}

void sleeping() {
  Scene("asleep it says and takes nothing")
      .connects()
      .falls_asleep()
      .says("09 0C 20 0003 0011 'on'")
      .passes(400000)
      .hears_nothing()
      .is_told_nothing();
  Scene("awake it takes what was kept, and is asleep again")
      .connects()
      .falls_asleep()
      .wakes()
      .hears("04 16 'n1'")
      .says("09 0C 20 0003 0011 'on'")
      .is_told("d on")
      .hears("07 0D 0003 0011 00")
      .is(State::WakingUp)
      .says("02 17")
      .is(State::Asleep)
      .hears_nothing();
  Scene("the PINGREQ is repeated when nothing was heard for Tretry")
      .connects()
      .falls_asleep()
      .wakes()
      .hears("04 16 'n1'")
      .passes(9000)
      .says("08 0C 00 0003 0000 'x'")
      .passes(9999)
      .hears_nothing()
      .passes(1)
      .hears("04 16 'n1'");
  Scene("with a message to publish it connects, and need not register")
      .connects()
      .falls_asleep()
      .publishes("x", Qos::AtLeastOnce)
      .hears_nothing()
      .wakes()
      .hears("04 16 'n1'")
      .says("02 17")
      .hears(Scene::CONNECT)
      .says("03 05 00")
      .hears("08 0C 20 0001 0005 'x'")
      .may_not_sleep()
      .says("07 0D 0001 0005 00")
      .falls_asleep();
  Scene("a session that was lost meanwhile is made again at once")
      .connects()
      .falls_asleep()
      .wakes()
      .hears("04 16 'n1'")
      .says("02 18")
      .hears(Scene::CONNECT)
      .suffers(Trouble::SessionLost)
      .says("03 05 00")
      .hears("09 0A 0000 0005 'a/b'");
  Scene scene("a gateway that does not say good night does not keep it awake");
  scene.connects().sleeps().hears("04 18 012C");
  for (int repeat = 0; repeat < 3; ++repeat) scene.passes(10000).hears("04 18 012C");
  scene.passes(10000).hears_nothing().is(State::Asleep).suffers(Trouble::GatewaySilent);
  Scene("a message that waits out a congestion does not keep it awake")
      .connects()
      .publishes("x", Qos::AtLeastOnce)
      .hears("08 0C 20 0001 0005 'x'")
      .says("07 0D 0001 0005 01")
      .falls_asleep()
      .wakes()
      .hears("04 16 'n1'")
      .says("02 17")
      .is(State::Asleep)
      .passes(300000)
      .wakes()
      .hears("04 16 'n1'")
      .says("02 17")
      .hears(Scene::CONNECT);
}

}  // namespace

int main() {
  connecting();
  publishing();
  receiving();
  pinging();
  sleeping();
}
