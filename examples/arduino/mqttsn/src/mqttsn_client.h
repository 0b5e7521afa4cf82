// An MQTT-SN 1.2 client that never waits: it connects, registers, subscribes, publishes, pings and sleeps from poll().
#pragma once

#include <stdint.h>

#include "mqttsn_config.h"
#include "mqttsn_link.h"
#include "mqttsn_message.h"

namespace mqttsn {

enum class Qos : uint8_t { AtMostOnce = FLAGS_QOS_0, AtLeastOnce = FLAGS_QOS_1 };

// A topic that the client publishes to, or a filter that it subscribes to. The client keeps the rest itself.
struct Topic {
  enum class Standing : uint8_t {
    Unknown,  // the gateway has yet to be told
    Known,
    Refused,  // the gateway will not have it
  };

  Topic(const char* its_name) : name(its_name), id(0), standing(Standing::Unknown) {}

  const char* name;
  uint16_t id;
  Standing standing;
};

// Where the client stands. In most states it has asked something and waits for the answer.
enum class State : uint8_t {
  Resting,        // nothing sent; connects when the pause is over
  Connecting,     // CONNECT
  Registering,    // REGISTER
  Subscribing,    // SUBSCRIBE
  Active,         // connected, nothing asked
  Publishing,     // PUBLISH at QoS 1
  Pinging,        // PINGREQ
  FallingAsleep,  // DISCONNECT with a duration
  Asleep,         // the gateway keeps what comes for us; the radio may be off
  WakingUp,       // PINGREQ with the client id: what was kept comes now
  Resuming,       // CONNECT out of sleep, because a message is to be published
};

// What went wrong last, to be told to a person.
enum class Trouble : uint8_t {
  None,
  GatewaySilent,   // no answer, Nretry times
  SessionLost,     // the gateway does not know us (any more)
  ConnectRefused,  // by CONNACK; tried again after Twait
  Congestion,      // the gateway or the broker cannot take more; tried again after Twait
  TopicRefused,    // a name is left out: refused, or too long for MQTTSN_MAX_FRAME
  PublishRefused,  // a message is dropped
};

// Called with each message, out of poll(). `topic` and `payload` are valid until it returns; it may publish.
typedef void (*MessageHandler)(const char* topic, const uint8_t* payload, uint8_t length);

class Client {
 public:
  // `publishes` and `subscribes` stay with the client. The client id has 1 to 23 characters.
  template <uint8_t Publishes, uint8_t Subscribes>
  Client(Link& link, const char* client_id, Topic (&publishes)[Publishes], Topic (&subscribes)[Subscribes],
         MessageHandler on_message)
      : link_(link),
        client_id_(client_id),
        publishes_(publishes),
        subscribes_(subscribes),
        publishes_count_(Publishes),
        subscribes_count_(Subscribes),
        on_message_(on_message) {}

  // Takes what has come and does what is due. Call it as often as you can; `now` is millis().
  void poll(uint32_t now);

  // Takes a message to publish to publishes[topic]; it goes out as soon as the client is connected and free. One at a
  // time: false while the last one is not gone, and for a topic or a length that cannot be published.
  bool publish(uint8_t topic, const void* payload, uint8_t length, Qos qos);

  // Whether there is a message that has not gone out, or at QoS 1 has not been acknowledged.
  bool publishing() const { return outbox_ != Outbox::Empty; }

  // Asks the gateway to keep what comes for us. False while something is to be done first. Wake up within `seconds`: the
  // gateway takes us for lost if it hears nothing for half as long again.
  bool sleep(uint16_t seconds);

  // Ends a sleep: fetches what the gateway kept, and is Asleep again; with a message to publish it becomes Active. Does
  // nothing in other states. `now` is millis().
  void wake(uint32_t now);

  State state() const { return state_; }

  // Gives what went wrong since it was last asked.
  Trouble take_trouble();

 private:
  enum class Outbox : uint8_t {
    Empty,
    Fresh,
    Sent,     // at QoS 1, not acknowledged: what goes out from now on is a repetition
    Renewed,  // as Sent, and its topic has been registered again for it
  };

  enum class Gate : uint8_t {
    Open,
    Shut,  // the gateway said "congestion"; since `shut_since_`
  };

  struct Learned {
    uint16_t id;
    char name[MQTTSN_LEARNED_NAME + 1];
  };

  void act();
  void ask(State state);
  void send_request();
  void answered(State next);
  void rest(Trouble trouble, uint32_t pause);
  bool may_publish() const;
  void drop_publish();
  Topic* next_unknown(Topic* topics, uint8_t count);

  void handle(const Message& message);
  void on_connack(uint8_t return_code);
  void on_topic_ack(uint16_t topic_id, uint8_t return_code);
  void on_puback(uint16_t topic_id, uint16_t msg_id, uint8_t return_code);
  void on_pingresp();
  void on_disconnect();
  void on_register(const Message& message);
  void on_publish(const Message& message);

  void forget_topics();
  bool connected() const;
  bool learn(uint16_t id, const uint8_t* name, uint8_t length);
  const char* name_of(uint16_t id) const;
  Topic* registered(uint16_t id) const;

  void begin(uint8_t type);
  void put(uint8_t octet);
  void put16(uint16_t value);
  void put_octets(const void* octets, uint8_t length);
  void put_text(const char* text);
  void finish();
  void acknowledge(uint8_t type, uint16_t topic_id, uint16_t msg_id, uint8_t return_code);
  uint16_t next_msg_id();

  // PUBLISH has the longest header that something of variable length stands behind.
  static const uint8_t MAX_PAYLOAD = MQTTSN_MAX_FRAME - 7;
  static_assert(MQTTSN_MAX_FRAME >= 32 && MQTTSN_MAX_FRAME <= 240, "all lengths are octets");

  Link& link_;
  const char* client_id_;
  Topic* publishes_;
  Topic* subscribes_;
  uint8_t publishes_count_;
  uint8_t subscribes_count_;
  MessageHandler on_message_;

  State state_ = State::Resting;
  Trouble trouble_ = Trouble::None;
  uint32_t now_ = 0;

  // Resting: since when, and how long.
  uint32_t rest_since_ = 0;
  uint32_t pause_ = 0;

  // What has been asked: when it was last sent, how often again, under which id, and about what.
  uint32_t asked_at_ = 0;
  uint8_t repeats_ = 0;
  uint16_t asked_id_ = 0;
  Topic* asked_topic_ = nullptr;
  uint16_t sleep_s_ = 0;
  // When the gateway last answered something: from there on the keep-alive runs.
  uint32_t answered_at_ = 0;

  uint16_t last_msg_id_ = 0;
  // The last message that came at QoS 1; 0 before the first of a connection.
  uint16_t last_received_ = 0;

  Outbox outbox_ = Outbox::Empty;
  Qos outbox_qos_ = Qos::AtMostOnce;
  uint8_t outbox_topic_ = 0;
  uint8_t outbox_length_ = 0;
  uint16_t outbox_msg_id_ = 0;
  uint8_t outbox_payload_[MAX_PAYLOAD];

  Gate gate_ = Gate::Open;
  uint32_t shut_since_ = 0;

  uint8_t next_learned_ = 0;
  Learned learned_[MQTTSN_LEARNED_TOPICS] = {};

  // The frame that is being written.
  uint8_t frame_length_ = 0;
  uint8_t frame_[MQTTSN_MAX_FRAME];
};

}  // namespace mqttsn
