// A dongle: what its radio hears goes to the gateway with the node's address, and what the gateway answers goes back to
// that node. README.md has the wiring; radio.cpp is for you to fill in.

#include <Arduino.h>
#include <mqttsn_forwarder.h>

static mqttsn::Forwarder<decltype(Serial)> forwarder(Serial);

void setup() {
  Serial.begin(115200);
  // Text is welcome on the line: the gateway shows it in its log and takes it for no frame.
  Serial.println(F("forwarder started"));
}

void loop() {
  static uint8_t heard[MQTTSN_MAX_FRAME];
  RadioAddress from;
  const uint8_t length = radio_receive(from, heard, sizeof heard);
  // What is no MQTT-SN message stays here: the air is full of others.
  if (length > 0) forwarder.to_gateway(from, heard, length);

  // What the radio does not take the gateway sends again.
  if (forwarder.from_gateway()) radio_send(forwarder.node(), forwarder.message(), forwarder.length());
}
