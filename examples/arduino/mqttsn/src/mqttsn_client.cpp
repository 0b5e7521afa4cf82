#include "mqttsn_client.h"

#include <string.h>

namespace mqttsn {

static_assert(MQTTSN_LEARNED_TOPICS >= 1, "a wildcard needs a place for the name that it matched");

void Client::poll(uint32_t now) {
  now_ = now;
  if (now_ - shut_since_ >= MQTTSN_T_WAIT_MS) gate_ = Gate::Open;
  uint8_t length = 0;
  Message message;
  const uint8_t* frame = link_.receive(length);
  if (frame != nullptr && read_message(frame, length, message)) handle(message);
  act();
}

bool Client::publish(uint8_t topic, const void* payload, uint8_t length, Qos qos) {
  if (outbox_ != Outbox::Empty || topic >= publishes_count_ || length > MAX_PAYLOAD) return false;
  if (publishes_[topic].standing == Topic::Standing::Refused) return false;
  outbox_ = Outbox::Fresh;
  outbox_qos_ = qos;
  outbox_topic_ = topic;
  outbox_length_ = length;
  outbox_msg_id_ = qos == Qos::AtMostOnce ? 0 : next_msg_id();
  memcpy(outbox_payload_, payload, length);
  return true;
}

bool Client::sleep(uint16_t seconds) {
  if (state_ != State::Active || may_publish() || seconds == 0) return false;
  sleep_s_ = seconds;
  ask(State::FallingAsleep);
  return true;
}

void Client::wake(uint32_t now) {
  now_ = now;
  if (state_ == State::Asleep) ask(State::WakingUp);
}

Trouble Client::take_trouble() {
  const Trouble trouble = trouble_;
  trouble_ = Trouble::None;
  return trouble;
}

// ---- What is due ----

void Client::act() {
  switch (state_) {
    case State::Resting:
      if (now_ - rest_since_ >= pause_) ask(State::Connecting);
      return;

    case State::Active:
      asked_topic_ = next_unknown(publishes_, publishes_count_);
      if (asked_topic_ != nullptr) return ask(State::Registering);
      asked_topic_ = next_unknown(subscribes_, subscribes_count_);
      if (asked_topic_ != nullptr) return ask(State::Subscribing);
      if (publishing() && publishes_[outbox_topic_].standing == Topic::Standing::Refused) drop_publish();
      if (may_publish()) return ask(State::Publishing);
      // Early enough for some repetitions. A PUBLISH at QoS 0 is no proof that the gateway is still there.
      if (now_ - answered_at_ >= MQTTSN_KEEP_ALIVE_S * 750UL) ask(State::Pinging);
      return;

    case State::Asleep:
      return;

    case State::Connecting:
    case State::Registering:
    case State::Subscribing:
    case State::Publishing:
    case State::Pinging:
    case State::FallingAsleep:
    case State::WakingUp:
    case State::Resuming:
      if (now_ - asked_at_ < MQTTSN_T_RETRY_MS) return;
      if (repeats_ < MQTTSN_N_RETRY) {
        ++repeats_;
        return send_request();
      }
      if (state_ == State::FallingAsleep) {
        // Staying awake would only empty the battery. The next wake() finds out.
        trouble_ = Trouble::GatewaySilent;
        state_ = State::Asleep;
        return;
      }
      return rest(Trouble::GatewaySilent, MQTTSN_REST_MS);
  }
}

void Client::ask(State state) {
  state_ = state;
  repeats_ = 0;
  if (state == State::Connecting) {
    // The gateway may have been restarted and know nothing of us: it is told everything again.
    forget_topics();
  }
  if (state == State::Registering || state == State::Subscribing) asked_id_ = next_msg_id();
  send_request();
}

// Sends what the state asks for; a repetition has the same message id.
void Client::send_request() {
  asked_at_ = now_;
  const uint8_t dup = repeats_ > 0 ? FLAG_DUP : 0;
  switch (state_) {
    case State::Connecting:
    case State::Resuming:
      begin(CONNECT);
      // A session that persists: what comes while we are away is kept for us.
      put(0);
      put(PROTOCOL_ID);
      put16(MQTTSN_KEEP_ALIVE_S);
      put_text(client_id_);
      return finish();

    case State::Registering:
      begin(REGISTER);
      put16(0);
      put16(asked_id_);
      put_text(asked_topic_->name);
      return finish();

    case State::Subscribing:
      begin(SUBSCRIBE);
      put(dup | FLAGS_QOS_1 | FLAGS_TOPIC_NORMAL);
      put16(asked_id_);
      put_text(asked_topic_->name);
      return finish();

    case State::Publishing:
      begin(PUBLISH);
      put((outbox_ == Outbox::Fresh ? 0 : FLAG_DUP) | static_cast<uint8_t>(outbox_qos_) | FLAGS_TOPIC_NORMAL);
      put16(publishes_[outbox_topic_].id);
      put16(outbox_msg_id_);
      put_octets(outbox_payload_, outbox_length_);
      finish();
      if (outbox_qos_ == Qos::AtMostOnce) {
        outbox_ = Outbox::Empty;
        state_ = State::Active;
      } else if (outbox_ == Outbox::Fresh) {
        outbox_ = Outbox::Sent;
      }
      return;

    case State::Pinging:
      begin(PINGREQ);
      return finish();

    case State::WakingUp:
      begin(PINGREQ);
      put_text(client_id_);
      return finish();

    case State::FallingAsleep:
      begin(DISCONNECT);
      put16(sleep_s_);
      return finish();

    case State::Resting:
    case State::Active:
    case State::Asleep:
      return;
  }
}

void Client::answered(State next) {
  state_ = next;
  answered_at_ = now_;
}

void Client::rest(Trouble trouble, uint32_t pause) {
  trouble_ = trouble;
  state_ = State::Resting;
  rest_since_ = now_;
  pause_ = pause;
}

void Client::drop_publish() {
  outbox_ = Outbox::Empty;
  trouble_ = Trouble::PublishRefused;
}

bool Client::may_publish() const { return publishing() && gate_ == Gate::Open; }

// Leaves out a name that no frame can hold: SUBSCRIBE has five octets before it, REGISTER six.
Topic* Client::next_unknown(Topic* topics, uint8_t count) {
  for (Topic* topic = topics; topic < topics + count; ++topic) {
    if (topic->standing != Topic::Standing::Unknown) continue;
    if (strlen(topic->name) <= MQTTSN_MAX_FRAME - 6) return topic;
    topic->standing = Topic::Standing::Refused;
    trouble_ = Trouble::TopicRefused;
  }
  return nullptr;
}

// ---- What has come ----

void Client::handle(const Message& message) {
  // While messages come the gateway has heard the PINGREQ (MQTT-SN 1.2 §6.14).
  if (state_ == State::WakingUp) {
    asked_at_ = now_;
    repeats_ = 0;
  }
  switch (message.type) {
    case CONNACK:
      if (message.length == 1) on_connack(message.body[0]);
      return;
    case REGISTER:
      if (message.length > 4 && connected()) on_register(message);
      return;
    case REGACK:
      if (message.length == 5 && state_ == State::Registering && message.u16(2) == asked_id_) {
        on_topic_ack(message.u16(0), message.body[4]);
      }
      return;
    case PUBLISH:
      if (message.length >= 5 && connected()) on_publish(message);
      return;
    case PUBACK:
      if (message.length == 5 && connected()) on_puback(message.u16(0), message.u16(2), message.body[4]);
      return;
    case SUBACK:
      if (message.length == 6 && state_ == State::Subscribing && message.u16(3) == asked_id_) {
        on_topic_ack(message.u16(1), message.body[5]);
      }
      return;
    case PINGREQ:
      if (connected()) {
        begin(PINGRESP);
        finish();
      }
      return;
    case PINGRESP:
      on_pingresp();
      return;
    case DISCONNECT:
      on_disconnect();
      return;
    default:
      return;
  }
}

void Client::on_connack(uint8_t return_code) {
  if (state_ != State::Connecting && state_ != State::Resuming) return;
  if (return_code == ACCEPTED) {
    last_received_ = 0;
    answered(State::Active);
  } else {
    rest(return_code == CONGESTION ? Trouble::Congestion : Trouble::ConnectRefused, MQTTSN_T_WAIT_MS);
  }
}

// The answer to REGISTER or SUBSCRIBE.
void Client::on_topic_ack(uint16_t topic_id, uint8_t return_code) {
  if (return_code == CONGESTION) {
    begin(DISCONNECT);
    finish();
    return rest(Trouble::Congestion, MQTTSN_T_WAIT_MS);
  }
  if (return_code == ACCEPTED) {
    asked_topic_->id = topic_id;
    asked_topic_->standing = Topic::Standing::Known;
  } else {
    asked_topic_->standing = Topic::Standing::Refused;
    trouble_ = Trouble::TopicRefused;
  }
  answered(State::Active);
}

// A PUBLISH at QoS 0 is answered, too, if it cannot be taken; with the message id 0.
void Client::on_puback(uint16_t topic_id, uint16_t msg_id, uint8_t return_code) {
  const bool ours = state_ == State::Publishing && msg_id == outbox_msg_id_;
  if (!ours && msg_id != 0) return;
  switch (return_code) {
    case ACCEPTED:
      if (ours) outbox_ = Outbox::Empty;
      break;
    case CONGESTION:
      gate_ = Gate::Shut;
      shut_since_ = now_;
      trouble_ = Trouble::Congestion;
      break;
    case INVALID_TOPIC_ID: {
      // The name is registered again, and then the message goes out again; but not for ever.
      Topic* topic = registered(topic_id);
      if (topic != nullptr) topic->standing = Topic::Standing::Unknown;
      if (ours && outbox_ == Outbox::Renewed) {
        drop_publish();
      } else if (ours) {
        outbox_ = Outbox::Renewed;
      }
      break;
    }
    default:
      trouble_ = Trouble::PublishRefused;
      if (ours) outbox_ = Outbox::Empty;
      break;
  }
  if (ours) answered(State::Active);
}

void Client::on_pingresp() {
  if (state_ == State::Pinging) {
    answered(State::Active);
  } else if (state_ == State::WakingUp) {
    answered(State::Asleep);
    // The gateway knows the session: CONNECT without telling it everything again.
    if (may_publish()) ask(State::Resuming);
  }
}

void Client::on_disconnect() {
  switch (state_) {
    case State::FallingAsleep:
      return answered(State::Asleep);
    case State::Registering:
    case State::Subscribing:
    case State::Active:
    case State::Publishing:
    case State::Pinging:
      return rest(Trouble::SessionLost, MQTTSN_REST_MS);
    // It stays awake for nothing else: no pause.
    case State::WakingUp:
      trouble_ = Trouble::SessionLost;
      return ask(State::Connecting);
    // Of an earlier time; CONNECT has its own answer.
    case State::Resting:
    case State::Connecting:
    case State::Resuming:
    case State::Asleep:
      return;
  }
}

// The gateway names the topic of a message that is to come.
void Client::on_register(const Message& message) {
  const uint16_t id = message.u16(0);
  const bool learned = learn(id, message.body + 4, message.length - 4);
  acknowledge(REGACK, id, message.u16(2), learned ? ACCEPTED : NOT_SUPPORTED);
}

void Client::on_publish(const Message& message) {
  const uint8_t flags = message.body[0];
  const uint8_t qos = flags & FLAGS_QOS;
  const uint16_t topic_id = message.u16(1);
  const uint16_t msg_id = message.u16(3);
  if (qos != FLAGS_QOS_0 && qos != FLAGS_QOS_1) return acknowledge(PUBACK, topic_id, msg_id, NOT_SUPPORTED);

  const char short_name[] = {static_cast<char>(message.body[1]), static_cast<char>(message.body[2]), '\0'};
  const char* name = nullptr;
  switch (flags & FLAGS_TOPIC) {
    case FLAGS_TOPIC_NORMAL:
      name = name_of(topic_id);
      break;
    case FLAGS_TOPIC_SHORT:
      name = short_name;
      break;
    default:
      break;
  }
  // The gateway tells us the name again (MQTT-SN 1.2 §6.10).
  if (name == nullptr) return acknowledge(PUBACK, topic_id, msg_id, INVALID_TOPIC_ID);

  // Our PUBACK was lost: what has been done is not done twice.
  const bool repeated = qos == FLAGS_QOS_1 && (flags & FLAG_DUP) != 0 && msg_id == last_received_;
  if (!repeated) on_message_(name, message.body + 5, message.length - 5);
  if (qos == FLAGS_QOS_1) {
    last_received_ = msg_id;
    acknowledge(PUBACK, topic_id, msg_id, ACCEPTED);
  }
}

// ---- Topics ----

static void forget(Topic* topics, uint8_t count) {
  for (Topic* topic = topics; topic < topics + count; ++topic) {
    topic->id = 0;
    topic->standing = Topic::Standing::Unknown;
  }
}

void Client::forget_topics() {
  forget(publishes_, publishes_count_);
  forget(subscribes_, subscribes_count_);
  for (uint8_t at = 0; at < MQTTSN_LEARNED_TOPICS; ++at) learned_[at].id = 0;
}

// Whether the gateway may send us something now.
bool Client::connected() const {
  switch (state_) {
    case State::Resting:
    case State::Connecting:
    case State::Asleep:
      return false;
    case State::Registering:
    case State::Subscribing:
    case State::Active:
    case State::Publishing:
    case State::Pinging:
    case State::FallingAsleep:
    case State::WakingUp:
    case State::Resuming:
      return true;
  }
  return false;
}

static bool is(const char* name, const uint8_t* text, uint8_t length) {
  return strlen(name) == length && memcmp(name, text, length) == 0;
}

bool Client::learn(uint16_t id, const uint8_t* name, uint8_t length) {
  for (uint8_t at = 0; at < subscribes_count_; ++at) {
    if (!is(subscribes_[at].name, name, length)) continue;
    subscribes_[at].id = id;
    return true;
  }
  if (length > MQTTSN_LEARNED_NAME) return false;
  Learned* place = nullptr;
  for (uint8_t at = 0; at < MQTTSN_LEARNED_TOPICS; ++at) {
    if (learned_[at].id == id) place = &learned_[at];
  }
  if (place == nullptr) {
    // In turn: a name that is needed again is told again.
    place = &learned_[next_learned_];
    next_learned_ = (next_learned_ + 1) % MQTTSN_LEARNED_TOPICS;
  }
  place->id = id;
  memcpy(place->name, name, length);
  place->name[length] = '\0';
  return true;
}

const char* Client::name_of(uint16_t id) const {
  if (id == 0) return nullptr;
  for (uint8_t at = 0; at < subscribes_count_; ++at) {
    if (subscribes_[at].id == id) return subscribes_[at].name;
  }
  for (uint8_t at = 0; at < MQTTSN_LEARNED_TOPICS; ++at) {
    if (learned_[at].id == id) return learned_[at].name;
  }
  // A wildcard may match what we publish ourselves.
  const Topic* topic = registered(id);
  return topic == nullptr ? nullptr : topic->name;
}

Topic* Client::registered(uint16_t id) const {
  if (id == 0) return nullptr;
  for (uint8_t at = 0; at < publishes_count_; ++at) {
    if (publishes_[at].id == id) return &publishes_[at];
  }
  return nullptr;
}

// ---- Writing frames ----

void Client::begin(uint8_t type) {
  frame_length_ = 1;
  put(type);
}

void Client::put(uint8_t octet) {
  if (frame_length_ < sizeof frame_) frame_[frame_length_++] = octet;
}

void Client::put16(uint16_t value) {
  put(static_cast<uint8_t>(value >> 8));
  put(static_cast<uint8_t>(value));
}

void Client::put_octets(const void* octets, uint8_t length) {
  for (uint8_t at = 0; at < length; ++at) put(static_cast<const uint8_t*>(octets)[at]);
}

void Client::put_text(const char* text) {
  for (; *text != '\0'; ++text) put(static_cast<uint8_t>(*text));
}

void Client::finish() {
  frame_[0] = frame_length_;
  link_.send(frame_, frame_length_);
}

void Client::acknowledge(uint8_t type, uint16_t topic_id, uint16_t msg_id, uint8_t return_code) {
  begin(type);
  put16(topic_id);
  put16(msg_id);
  put(return_code);
  finish();
}

// 0 is no message id.
uint16_t Client::next_msg_id() {
  if (++last_msg_id_ == 0) last_msg_id_ = 1;
  return last_msg_id_;
}

}  // namespace mqttsn
