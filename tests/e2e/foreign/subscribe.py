"""Subscribes with mqtt-sn-12 and prints what comes: HOST PORT CLIENT_ID QOS FILTER."""

import sys
import time

from mqttsn12.client.MqttSnClient import MqttSnClient, MqttSnListener


class Printer(MqttSnListener):
    def message_arrived(self, msg):
        print(msg.get_topic_name(), msg.get_payload().decode())


host, port, client_id, qos, topic_filter = sys.argv[1:]

client = MqttSnClient()
client.set_timeout(20)
client.set_client_id(client_id)
client.open(host, int(port))
client.send_connect()
client.send_subscribe(topic_filter, int(qos), Printer())
print("subscribed")
while True:
    client.polling()
    # The library's polling does not wait.
    time.sleep(0.01)
