// Runs a sketch: its Serial is the terminal that the first argument names.

#include "Arduino.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

Terminal Serial;

static int terminal = -1;

// What a sketch cannot live without.
static void need(bool there, const char* what) {
  if (there) return;
  perror(what);
  exit(1);
}

static sigset_t interrupts() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  return set;
}

int main(int count, char** arguments) {
  if (count > 1) {
    terminal = open(arguments[1], O_RDWR | O_NOCTTY | O_NONBLOCK);
    need(terminal >= 0, arguments[1]);
  }
  setvbuf(stdout, nullptr, _IOLBF, 0);
  // An interrupt before delay() is not lost: it waits, and ends the next one.
  const sigset_t set = interrupts();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  setup();
  for (;;) {
    loop();
    pollfd input = {terminal, POLLIN, 0};
    poll(&input, 1, 2);
  }
}

unsigned long millis() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint32_t>(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

void delay(unsigned long ms) {
  printf("delay %lu ms\n", ms);
  const sigset_t set = interrupts();
  const timespec time = {static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000) * 1000000};
  sigtimedwait(&set, nullptr, &time);
}

void pinMode(uint8_t, uint8_t) {}

void digitalWrite(uint8_t pin, uint8_t level) { printf("pin %u %s\n", pin, level == HIGH ? "high" : "low"); }

int analogRead(uint8_t) {
  static int reading = 0;
  return ++reading;
}

char* utoa(unsigned value, char* text, int) {
  sprintf(text, "%u", value);
  return text;
}

void Terminal::begin(unsigned long) {}

int Terminal::read() {
  uint8_t octet;
  return terminal >= 0 && ::read(terminal, &octet, 1) == 1 ? octet : -1;
}

size_t Terminal::write(uint8_t octet) {
  while (terminal >= 0 && ::write(terminal, &octet, 1) != 1) {
    need(errno == EAGAIN || errno == EINTR, "the serial line");
    pollfd output = {terminal, POLLOUT, 0};
    poll(&output, 1, -1);
  }
  return 1;
}

size_t Terminal::println(const char* line) {
  printf("says %s\n", line);
  for (const char* at = line; *at != '\0'; ++at) write(static_cast<uint8_t>(*at));
  return write('\r') + write('\n');
}
