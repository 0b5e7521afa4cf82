// Your radio. Fill in the two functions; mqttsn_radio.h says what they owe.
//
// With an RFM69 and its library, for example, radio_send is `radio.send(to, frame, length)`, to 255 for everyone, and
// radio_receive looks at `radio.receiveDone()`, `radio.SENDERID`, `radio.DATA` and `radio.DATALEN`.

#include <mqttsn_radio.h>

bool radio_send(RadioAddress, const uint8_t*, uint8_t) { return false; }

uint8_t radio_receive(RadioAddress&, uint8_t*, uint8_t) { return 0; }
