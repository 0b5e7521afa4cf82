// The way to the gateway, as the client sees it: whole frames, one at a time.
#pragma once

#include <stdint.h>

#include "mqttsn_config.h"
#include "slip_crc.h"

namespace mqttsn {

class Link {
 public:
  // Sends a frame. What is lost on the way is none of the link's business: the client asks again.
  virtual void send(const uint8_t* frame, uint8_t length) = 0;

  // Returns the next frame, which stays until the next call, or null if there is none. Never waits.
  virtual const uint8_t* receive(uint8_t& length) = 0;

 protected:
  ~Link() = default;
};

// A serial line, framing slip-crc. Port is anything with `int read()`, -1 for nothing, and `write(uint8_t)`: Serial.
template <class Port>
class SlipCrcLink final : public Link {
 public:
  explicit SlipCrcLink(Port& port) : port_(port) {}

  void send(const uint8_t* frame, uint8_t length) override {
    SlipCrcWriter<Port> writer(port_);
    writer.put(frame, length);
    writer.finish();
  }

  const uint8_t* receive(uint8_t& length) override {
    for (int octet = port_.read(); octet >= 0; octet = port_.read()) {
      if (reader_.take(static_cast<uint8_t>(octet))) {
        length = reader_.length();
        return reader_.frame();
      }
    }
    return nullptr;
  }

 private:
  Port& port_;
  SlipCrcReader<MQTTSN_MAX_FRAME> reader_;
};

}  // namespace mqttsn
