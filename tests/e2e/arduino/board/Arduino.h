// As much of Arduino as the sketches use, on a computer: a board whose Serial is a terminal, whose pins are lines of
// standard output, and whose delay() a SIGUSR1 ends, as an interrupt would.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define F(text) text

enum { LOW, HIGH };
enum { INPUT, OUTPUT };
enum : uint8_t { LED_BUILTIN = 13, A0 = 14 };

unsigned long millis();
void delay(unsigned long ms);
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t level);
// Counts: each reading is one more than the last.
int analogRead(uint8_t pin);
char* utoa(unsigned value, char* text, int base);

class Terminal {
 public:
  void begin(unsigned long baud);
  int read();
  size_t write(uint8_t octet);
  size_t println(const char* line);
};
extern Terminal Serial;

// The sketch.
void setup();
void loop();
