// A radio on a computer: the air is the directory AIR, and a station, whose address is AIR_ADDRESS, a socket in it.

#include <mqttsn_radio.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

// The largest payload of an RFM69, for one.
static const uint8_t MAX_PACKET = 61;

static RadioAddress own_address() { return static_cast<RadioAddress>(atoi(getenv("AIR_ADDRESS"))); }

static sockaddr_un place(RadioAddress station) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s/%u", getenv("AIR"), station);
  return address;
}

static int antenna() {
  static int socket_number = -1;
  if (socket_number < 0) {
    socket_number = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const sockaddr_un here = place(own_address());
    if (bind(socket_number, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0) {
      perror(here.sun_path);
      exit(1);
    }
  }
  return socket_number;
}

static bool send_to_one(RadioAddress to, const uint8_t* frame, uint8_t length) {
  uint8_t packet[sizeof(RadioAddress) + MAX_PACKET];
  const RadioAddress from = own_address();
  memcpy(packet, &from, sizeof from);
  memcpy(packet + sizeof from, frame, length);
  const sockaddr_un place_there = place(to);
  const sockaddr* there = reinterpret_cast<const sockaddr*>(&place_there);
  return sendto(antenna(), packet, sizeof from + length, 0, there, sizeof place_there) > 0;
}

bool radio_send(RadioAddress to, const uint8_t* frame, uint8_t length) {
  if (length > MAX_PACKET) return false;
  if (to != RADIO_EVERYONE) return send_to_one(to, frame, length);
  bool anyone = false;
  DIR* stations = opendir(getenv("AIR"));
  while (const dirent* entry = stations == nullptr ? nullptr : readdir(stations)) {
    const RadioAddress station = static_cast<RadioAddress>(atoi(entry->d_name));
    if (entry->d_name[0] != '.' && station != own_address()) anyone |= send_to_one(station, frame, length);
  }
  if (stations != nullptr) closedir(stations);
  return anyone;
}

uint8_t radio_receive(RadioAddress& from, uint8_t* frame, uint8_t capacity) {
  uint8_t packet[sizeof from + MAX_PACKET];
  const ssize_t received = recv(antenna(), packet, sizeof packet, 0);
  if (received <= static_cast<ssize_t>(sizeof from)) return 0;
  const uint8_t length = static_cast<uint8_t>(received - sizeof from);
  if (length > capacity) return 0;
  memcpy(&from, packet, sizeof from);
  memcpy(frame, packet + sizeof from, length);
  return length;
}
