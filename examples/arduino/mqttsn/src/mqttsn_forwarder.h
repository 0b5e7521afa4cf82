// The work of a forwarder (MQTT-SN 1.2 §5.5): it wraps what the radio heard with the node's address, so that many nodes
// share one serial line, and unwraps what the gateway answers.
//
//   Length | FE | Ctrl | node address | the node's message       Length counts up to the end of the address
#pragma once

#include <stdint.h>

#include "mqttsn_config.h"
#include "mqttsn_message.h"
#include "mqttsn_radio.h"
#include "slip_crc.h"

namespace mqttsn {

template <class Port>
class Forwarder {
 public:
  explicit Forwarder(Port& port) : port_(port), node_(0), message_(nullptr), length_(0) {}

  // Sends the gateway what the radio heard from a node. False: it is no MQTT-SN message, and the gateway is spared it.
  bool to_gateway(RadioAddress from, const uint8_t* message, uint8_t length) {
    Message read;
    if (!read_message(message, length, read)) return false;
    SlipCrcWriter<Port> writer(port_);
    writer.put(WRAPPER);
    writer.put(static_cast<uint8_t>(ENCAPSULATED));
    writer.put(0);
    for (uint8_t octet = sizeof from; octet > 0; --octet) writer.put(static_cast<uint8_t>(from >> (8 * (octet - 1))));
    writer.put(message, length);
    writer.finish();
    return true;
  }

  // Takes what has come from the gateway. True: there is a message() for node(), until the next call. Never waits.
  bool from_gateway() {
    for (int octet = port_.read(); octet >= 0; octet = port_.read()) {
      if (reader_.take(static_cast<uint8_t>(octet)) && unwrap()) return true;
    }
    return false;
  }

  // Whom the message is for; perhaps RADIO_EVERYONE.
  RadioAddress node() const { return node_; }
  const uint8_t* message() const { return message_; }
  uint8_t length() const { return length_; }

 private:
  static const uint8_t WRAPPER = 3 + sizeof(RadioAddress);

  bool unwrap() {
    Message outer;
    const uint8_t* frame = reader_.frame();
    message_ = frame;
    length_ = reader_.length();
    if (frame[1] == ENCAPSULATED) {
      if (frame[0] != WRAPPER || length_ <= WRAPPER) return false;
      node_ = 0;
      for (uint8_t at = 3; at < WRAPPER; ++at) node_ = static_cast<RadioAddress>(node_ << 8 | frame[at]);
      message_ += WRAPPER;
      length_ -= WRAPPER;
      return read_message(message_, length_, outer);
    }
    // Without a wrapper it is for nobody in particular: the gateway makes itself known.
    node_ = RADIO_EVERYONE;
    return read_message(message_, length_, outer) && (outer.type == ADVERTISE || outer.type == GWINFO);
  }

  Port& port_;
  RadioAddress node_;
  const uint8_t* message_;
  uint8_t length_;
  SlipCrcReader<MQTTSN_MAX_FRAME + WRAPPER> reader_;
};

}  // namespace mqttsn
