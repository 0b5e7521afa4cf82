"""Publishes one message with mqtt-sn-12: HOST PORT QOS TOPIC PAYLOAD.

At QoS -1 there is no connection, and TOPIC is a pre-defined topic id.
"""

import sys

from mqttsn12.client.MqttSnClient import MqttSnClient

host, port, qos, topic, payload = sys.argv[1:]
qos = int(qos)

client = MqttSnClient()
client.set_timeout(20)
client.set_client_id(f"foreign-publisher-{qos}")
client.open(host, int(port))
if qos < 0:
    client.send_publish_predefined(int(topic), payload.encode(), qos)
else:
    client.send_connect()
    client.send_publish(topic, payload.encode(), qos)
    client.send_disconnect()
client.close()
