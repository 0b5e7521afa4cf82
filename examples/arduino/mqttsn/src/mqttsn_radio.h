// A radio: two functions, which the sketch brings along. forwarder/radio.cpp has the place to fill in.
#pragma once

#include <stdint.h>

#include "mqttsn_link.h"

// A station's address on the air. Make it as wide as your radio's; the gateway takes it as it is.
using RadioAddress = uint16_t;

// The dongle at the gateway.
static const RadioAddress RADIO_DONGLE = 0;
// Every station.
static const RadioAddress RADIO_EVERYONE = static_cast<RadioAddress>(~0UL);

// Sends one frame. False: it does not fit the radio, or nobody took it.
bool radio_send(RadioAddress to, const uint8_t* frame, uint8_t length);

// Gives the next frame that was for us or for everyone, and its sender; returns its length, or 0 if there is none.
// Never waits. A frame longer than `capacity` is dropped.
uint8_t radio_receive(RadioAddress& from, uint8_t* frame, uint8_t capacity);

namespace mqttsn {

// The way of a node to the gateway when a dongle with the forwarder sketch stands between.
class RadioLink final : public Link {
 public:
  void send(const uint8_t* frame, uint8_t length) override { radio_send(RADIO_DONGLE, frame, length); }

  const uint8_t* receive(uint8_t& length) override {
    RadioAddress from;
    length = radio_receive(from, frame_, sizeof frame_);
    return length > 0 && from == RADIO_DONGLE ? frame_ : nullptr;
  }

 private:
  uint8_t frame_[MQTTSN_MAX_FRAME];
};

}  // namespace mqttsn
