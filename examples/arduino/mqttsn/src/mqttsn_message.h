// MQTT-SN 1.2 messages: types, flags, return codes, and the header (§5.2, §5.3).
#pragma once

#include <stdint.h>

namespace mqttsn {

enum MsgType : uint8_t {
  ADVERTISE = 0x00,
  GWINFO = 0x02,
  CONNECT = 0x04,
  CONNACK = 0x05,
  REGISTER = 0x0A,
  REGACK = 0x0B,
  PUBLISH = 0x0C,
  PUBACK = 0x0D,
  SUBSCRIBE = 0x12,
  SUBACK = 0x13,
  PINGREQ = 0x16,
  PINGRESP = 0x17,
  DISCONNECT = 0x18,
  ENCAPSULATED = 0xFE,
};

enum Flags : uint8_t {
  FLAG_DUP = 0x80,
  FLAGS_QOS = 0x60,
  FLAGS_QOS_0 = 0x00,
  FLAGS_QOS_1 = 0x20,
  FLAGS_TOPIC = 0x03,
  FLAGS_TOPIC_NORMAL = 0x00,
  FLAGS_TOPIC_SHORT = 0x02,
};

enum ReturnCode : uint8_t {
  ACCEPTED = 0x00,
  CONGESTION = 0x01,
  INVALID_TOPIC_ID = 0x02,
  NOT_SUPPORTED = 0x03,
};

static const uint8_t PROTOCOL_ID = 0x01;

// A received message without its header.
struct Message {
  uint8_t type;
  const uint8_t* body;
  uint8_t length;

  uint16_t u16(uint8_t at) const {
    return static_cast<uint16_t>(static_cast<uint16_t>(body[at]) << 8 | body[at + 1]);
  }
};

// Reads the header, short or long. False: its Length field does not say what came.
inline bool read_message(const uint8_t* frame, uint8_t length, Message& message) {
  if (length < 2) return false;
  uint8_t header = 2;
  uint16_t total = frame[0];
  if (frame[0] == 0x01) {
    if (length < 4) return false;
    header = 4;
    total = static_cast<uint16_t>(static_cast<uint16_t>(frame[1]) << 8 | frame[2]);
  }
  if (total != length) return false;
  message.type = frame[header - 1];
  message.body = frame + header;
  message.length = length - header;
  return true;
}

}  // namespace mqttsn
