// The framing against the project's vectors: each row of slip-crc in the table that the argument names, both ways, and
// with what may stand around it. The forwarder's rows go through the forwarder.

#include <mqttsn_forwarder.h>
#include <mqttsn_link.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "check.h"

bool radio_send(RadioAddress, const uint8_t*, uint8_t) { return false; }
uint8_t radio_receive(RadioAddress&, uint8_t*, uint8_t) { return 0; }

// framing, direction, hex_on_wire, node_address, mqttsn_hex, note
static std::vector<std::string> columns(const std::string& row) {
  std::vector<std::string> result;
  std::istringstream stream(row);
  for (std::string column; std::getline(stream, column, '\t');) result.push_back(column);
  return result;
}

static std::string read_frame(MemoryPort& port) {
  mqttsn::SlipCrcLink<MemoryPort> link(port);
  uint8_t length = 0;
  const uint8_t* frame = link.receive(length);
  return frame == nullptr ? "nothing" : hex(Octets(frame, frame + length));
}

static std::string unwrapped(const Octets& wire) {
  MemoryPort port;
  port.input = wire;
  mqttsn::Forwarder<MemoryPort> forwarder(port);
  if (!forwarder.from_gateway()) return "nothing";
  char node[8];
  snprintf(node, sizeof node, "%04x ", forwarder.node());
  return node + hex(Octets(forwarder.message(), forwarder.message() + forwarder.length()));
}

static void check_bare(const std::string& wire, const std::string& message) {
  MemoryPort port;
  port.input = octets(wire);
  same(read_frame(port), message, wire + " read");

  const Octets frame = octets(message);
  mqttsn::SlipCrcLink<MemoryPort>(port).send(frame.data(), static_cast<uint8_t>(frame.size()));
  same(hex(port.output), wire, message + " written");

  port.input = octets("'boot ok' 0d0a" + wire);
  same(read_frame(port), message, wire + " after text");
  port.input = octets("c0 0301db0061 c0 dbdd" + wire);
  same(read_frame(port), message, wire + " after noise");
  for (size_t at = 1; at + 1 < octets(wire).size(); ++at) {
    port.input = octets(wire);
    port.input[at] ^= 0x10;
    same(read_frame(port), "nothing", wire + " with a flipped bit in octet " + std::to_string(at));
    port.input = octets(wire);
    port.input.erase(port.input.begin() + static_cast<int>(at));
    same(read_frame(port), "nothing", wire + " without octet " + std::to_string(at));
  }
}

static void check_wrapped(const std::string& wire, const std::string& node, const std::string& message) {
  same(unwrapped(octets(wire)), node + " " + message, wire + " unwrapped");

  MemoryPort port;
  mqttsn::Forwarder<MemoryPort> forwarder(port);
  const Octets inner = octets(message);
  const RadioAddress from = static_cast<RadioAddress>(std::stoi(node, nullptr, 16));
  forwarder.to_gateway(from, inner.data(), static_cast<uint8_t>(inner.size()));
  same(hex(port.output), wire, message + " wrapped");
}

// Encloses a frame as the vectors do.
static Octets enclosed(const std::string& frame) {
  MemoryPort port;
  const Octets content = octets(frame);
  mqttsn::SlipCrcLink<MemoryPort>(port).send(content.data(), static_cast<uint8_t>(content.size()));
  return port.output;
}

static void check_the_edges() {
  const std::string largest = hex(Octets(MQTTSN_MAX_FRAME, 0xC0));
  MemoryPort port;
  port.input = enclosed(largest);
  same(read_frame(port), largest, "the largest frame, all escapes");
  port.input = enclosed(largest + "00");
  same(read_frame(port), "nothing", "a frame that is too long");

  same(unwrapped(enclosed("0500010384")), "ffff 0500010384", "ADVERTISE is for everyone");
  same(unwrapped(enclosed("030500")), "nothing", "a CONNACK for nobody");
  same(unwrapped(enclosed("04fe0001 030500")), "nothing", "an address of one octet");
  same(unwrapped(enclosed("05fe000003 030500 00")), "nothing", "a message with an octet too many");
  same(unwrapped(enclosed("05fe000003")), "nothing", "a wrapper around nothing");

  mqttsn::Forwarder<MemoryPort> forwarder(port);
  port.output.clear();
  const Octets noise = octets("1234567890");
  forwarder.to_gateway(3, noise.data(), static_cast<uint8_t>(noise.size()));
  same(hex(port.output), "", "what is no message is not forwarded");
}

int main(int, char** arguments) {
  std::ifstream table(arguments[1]);
  int rows = 0;
  for (std::string row; std::getline(table, row);) {
    const std::vector<std::string> column = columns(row);
    if (column[0] == "slip+crc16") {
      check_bare(column[2], column[4]);
    } else if (column[0] == "slip+crc16+fe") {
      check_wrapped(column[2], column[3], column[4]);
    } else {
      continue;
    }
    ++rows;
  }
  check_the_edges();
  printf("%d vectors\n", rows);
}
