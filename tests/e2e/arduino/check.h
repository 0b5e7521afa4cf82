// What the C++ tests are made of: a check that says what failed, and octets in hexadecimal.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>
#include <vector>

typedef std::vector<uint8_t> Octets;

// Reads hexadecimal; blanks are passed over, and text stands in 'quotes'.
inline Octets octets(const std::string& hex) {
  Octets result;
  for (size_t at = 0; at < hex.size();) {
    if (hex[at] == ' ') {
      ++at;
    } else if (hex[at] == '\'') {
      for (++at; hex[at] != '\''; ++at) result.push_back(static_cast<uint8_t>(hex[at]));
      ++at;
    } else {
      result.push_back(static_cast<uint8_t>(std::stoi(hex.substr(at, 2), nullptr, 16)));
      at += 2;
    }
  }
  return result;
}

inline std::string hex(const Octets& octets) {
  std::string result;
  char digits[3];
  for (uint8_t octet : octets) {
    snprintf(digits, sizeof digits, "%02x", octet);
    result += digits;
  }
  return result;
}

// Ends the program unless both are the same; `what` says where.
inline void same(const std::string& found, const std::string& wanted, const std::string& what) {
  if (found == wanted) return;
  fprintf(stderr, "%s: found %s, wanted %s\n", what.c_str(), found.c_str(), wanted.c_str());
  exit(1);
}

// A port whose input the test writes and whose output it reads.
struct MemoryPort {
  Octets input;
  Octets output;

  int read() {
    if (input.empty()) return -1;
    const uint8_t octet = input[0];
    input.erase(input.begin());
    return octet;
  }
  void write(uint8_t octet) { output.push_back(octet); }
};
