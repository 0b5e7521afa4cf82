"""Reads frames in hex, one a line; prints what scapy makes of each, one a line: name=value, in the frame's order."""

import sys

from scapy.contrib.mqttsn import MQTTSN

for line in sys.stdin:
    layer = MQTTSN(bytes.fromhex(line))
    words = []
    while layer:
        for name, value in layer.fields.items():
            if value is not None:
                words.append(f"{name}={value.hex() if isinstance(value, bytes) else value}")
        layer = layer.payload
    print(" ".join(words))
