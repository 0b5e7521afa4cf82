// A battery node: it publishes a reading, obeys a command, and sleeps in between. README.md has the wiring.

#include <Arduino.h>
#include <mqttsn_client.h>

// ---- What you may want to change ----

// The node's name: unique at the gateway, at most 23 characters.
#ifndef NODE_ID
#define NODE_ID "node-1"
#endif

// Seconds between two readings.
#ifndef NODE_PERIOD_S
#define NODE_PERIOD_S 60
#endif

// 1: the processor sleeps between readings. 0: it stays awake, and hears commands at once.
#ifndef NODE_SLEEPS
#define NODE_SLEEPS 1
#endif

// 0: the serial line leads to the gateway. 1: a radio does, by way of a dongle with the forwarder sketch; then copy
// ../forwarder/radio.cpp beside this file and fill it in.
#ifndef NODE_ON_RADIO
#define NODE_ON_RADIO 0
#endif

static const uint8_t SENSOR_PIN = A0;
static const uint8_t LED_PIN = LED_BUILTIN;

enum : uint8_t { LIGHT };
static mqttsn::Topic publishes[] = {"iot/" NODE_ID "/light"};
static mqttsn::Topic subscribes[] = {"iot/" NODE_ID "/led"};

// ---- The node ----

#if NODE_ON_RADIO
#include <mqttsn_radio.h>
static mqttsn::RadioLink gateway;
#else
static mqttsn::SlipCrcLink<decltype(Serial)> gateway(Serial);
#endif

static void on_message(const char* topic, const uint8_t* payload, uint8_t length);
static mqttsn::Client client(gateway, NODE_ID, publishes, subscribes, on_message);

// millis() stands still while the processor sleeps.
static uint32_t slept_ms = 0;
static uint32_t now() { return millis() + slept_ms; }

static uint32_t read_at = 0;

static void take_reading();
static void say(mqttsn::Trouble trouble);
#if NODE_SLEEPS
static void nap(uint16_t seconds);
#endif

void setup() {
  Serial.begin(115200);
  pinMode(LED_PIN, OUTPUT);
  // Text is welcome on the line: the gateway shows it in its log and takes it for no frame.
  Serial.println(F("node " NODE_ID " started"));
  take_reading();
}

void loop() {
  client.poll(now());
  say(client.take_trouble());

#if NODE_SLEEPS
  switch (client.state()) {
    case mqttsn::State::Active:
      // False while there is something to do before. Three periods: one wake-up may fail and nothing is lost.
      client.sleep(3 * NODE_PERIOD_S);
      break;
    case mqttsn::State::Asleep:
    case mqttsn::State::Resting:
      // Resting: the gateway is away, so that nobody is there to be listened to.
      nap(NODE_PERIOD_S);
      take_reading();
      client.wake(now());
      break;
    default:
      break;
  }
#else
  if (now() - read_at >= NODE_PERIOD_S * 1000UL) take_reading();
#endif
}

// A reading that the gateway has not acknowledged stays; the new one is then left out.
static void take_reading() {
  read_at = now();
  char text[6];
  utoa(static_cast<unsigned>(analogRead(SENSOR_PIN)), text, 10);
  client.publish(LIGHT, text, static_cast<uint8_t>(strlen(text)), mqttsn::Qos::AtLeastOnce);
}

// `on` lights the lamp, anything else puts it out.
static void on_message(const char*, const uint8_t* payload, uint8_t length) {
  const bool on = length == 2 && memcmp(payload, "on", 2) == 0;
  digitalWrite(LED_PIN, on ? HIGH : LOW);
}

static void say(mqttsn::Trouble trouble) {
  switch (trouble) {
    case mqttsn::Trouble::None:
      return;
    case mqttsn::Trouble::GatewaySilent:
      Serial.println(F(NODE_ID ": the gateway does not answer"));
      return;
    case mqttsn::Trouble::SessionLost:
      Serial.println(F(NODE_ID ": the gateway does not know me; connecting again"));
      return;
    case mqttsn::Trouble::ConnectRefused:
      Serial.println(F(NODE_ID ": the gateway refuses me"));
      return;
    case mqttsn::Trouble::Congestion:
      Serial.println(F(NODE_ID ": the gateway is busy; waiting"));
      return;
    case mqttsn::Trouble::TopicRefused:
      Serial.println(F(NODE_ID ": a topic was refused"));
      return;
    case mqttsn::Trouble::PublishRefused:
      Serial.println(F(NODE_ID ": a message was refused"));
      return;
  }
}

#if NODE_SLEEPS && defined(__AVR__)
#include <avr/sleep.h>
#include <avr/wdt.h>

// Only wakes the processor.
ISR(WDT_vect) {}

// Powers down; the watchdog wakes the processor once a second.
static void nap(uint16_t seconds) {
  Serial.flush();
  const uint8_t adc = ADCSRA;
  ADCSRA = 0;
  set_sleep_mode(SLEEP_MODE_PWR_DOWN);
  noInterrupts();
  wdt_reset();
  MCUSR &= ~_BV(WDRF);
  WDTCSR = _BV(WDCE) | _BV(WDE);
  WDTCSR = _BV(WDIE) | _BV(WDP2) | _BV(WDP1);
  interrupts();
  for (uint16_t second = 0; second < seconds; ++second) sleep_mode();
  wdt_disable();
  ADCSRA = adc;
  slept_ms += seconds * 1000UL;
}
#elif NODE_SLEEPS
static void nap(uint16_t seconds) { delay(seconds * 1000UL); }
#endif
