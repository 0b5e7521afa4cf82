// The framing `slip-crc`: SLIP (RFC 1055) with a CRC-16/XMODEM, low octet first, behind the frame.
//
//   C0 | frame, CRC low, CRC high; C0 as DB DC, DB as DB DD | C0
//
// Between two frames anything may stand on the line, such as the text of Serial.println: it has no valid CRC.
#pragma once

#include <stdint.h>

namespace mqttsn {

enum Slip : uint8_t { SLIP_END = 0xC0, SLIP_ESC = 0xDB, SLIP_ESC_END = 0xDC, SLIP_ESC_ESC = 0xDD };

inline uint16_t crc16(uint16_t crc, uint8_t octet) {
  crc ^= static_cast<uint16_t>(octet) << 8;
  for (uint8_t bit = 0; bit < 8; ++bit) {
    crc = (crc & 0x8000) != 0 ? static_cast<uint16_t>(crc << 1) ^ 0x1021 : static_cast<uint16_t>(crc << 1);
  }
  return crc;
}

// Writes one frame, octet by octet, so that it need not lie in one piece anywhere.
// Port is anything with write(uint8_t): Serial is one.
template <class Port>
class SlipCrcWriter {
 public:
  // Writes END first, too: it closes whatever text or noise stood on the line before.
  explicit SlipCrcWriter(Port& port) : port_(port), crc_(0) { port_.write(static_cast<uint8_t>(SLIP_END)); }

  void put(uint8_t octet) {
    crc_ = crc16(crc_, octet);
    escape(octet);
  }

  void put(const uint8_t* octets, uint8_t length) {
    for (uint8_t at = 0; at < length; ++at) put(octets[at]);
  }

  void finish() {
    escape(static_cast<uint8_t>(crc_));
    escape(static_cast<uint8_t>(crc_ >> 8));
    port_.write(static_cast<uint8_t>(SLIP_END));
  }

 private:
  void escape(uint8_t octet) {
    if (octet == SLIP_END) {
      port_.write(static_cast<uint8_t>(SLIP_ESC));
      octet = SLIP_ESC_END;
    } else if (octet == SLIP_ESC) {
      port_.write(static_cast<uint8_t>(SLIP_ESC));
      octet = SLIP_ESC_ESC;
    }
    port_.write(octet);
  }

  Port& port_;
  uint16_t crc_;
};

// Cuts frames of up to MaxFrame octets out of a stream. What is no frame is dropped; the next END starts afresh.
template <uint8_t MaxFrame>
class SlipCrcReader {
 public:
  // Takes one octet. True: it completed a frame, which stays until the next octet is taken.
  bool take(uint8_t octet) {
    if (octet == SLIP_END) {
      const bool complete = state_ == State::Content && valid();
      frame_length_ = complete ? length_ - CRC_OCTETS : 0;
      length_ = 0;
      state_ = State::Content;
      return complete;
    }
    switch (state_) {
      case State::Content:
        if (octet == SLIP_ESC) {
          state_ = State::Escape;
        } else {
          push(octet);
        }
        break;
      case State::Escape:
        state_ = State::Content;
        if (octet == SLIP_ESC_END) {
          push(SLIP_END);
        } else if (octet == SLIP_ESC_ESC) {
          push(SLIP_ESC);
        } else {
          state_ = State::Spoilt;
        }
        break;
      case State::Spoilt:
        break;
    }
    return false;
  }

  const uint8_t* frame() const { return content_; }
  uint8_t length() const { return frame_length_; }

 private:
  enum class State : uint8_t {
    Content,
    Escape,  // after ESC
    Spoilt,  // too long, or a bad escape: skip to the next END
  };

  static const uint8_t CRC_OCTETS = 2;
  static const uint8_t MIN_FRAME = 2;
  static_assert(MaxFrame <= 253, "the lengths are octets");

  void push(uint8_t octet) {
    if (length_ == sizeof content_) {
      state_ = State::Spoilt;
    } else {
      content_[length_++] = octet;
    }
  }

  bool valid() const {
    if (length_ < MIN_FRAME + CRC_OCTETS) return false;
    const uint8_t end = length_ - CRC_OCTETS;
    uint16_t crc = 0;
    for (uint8_t at = 0; at < end; ++at) crc = crc16(crc, content_[at]);
    return content_[end] == static_cast<uint8_t>(crc) && content_[end + 1] == static_cast<uint8_t>(crc >> 8);
  }

  State state_ = State::Content;
  uint8_t length_ = 0;
  uint8_t frame_length_ = 0;
  uint8_t content_[MaxFrame + CRC_OCTETS];
};

}  // namespace mqttsn
