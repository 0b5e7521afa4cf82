// Sizes and times. Each may be set from outside (-DMQTTSN_MAX_FRAME=128).
#pragma once

// The largest MQTT-SN message, in octets, both ways. Say the same to the gateway: max_frame in [[serial]].
#ifndef MQTTSN_MAX_FRAME
#define MQTTSN_MAX_FRAME 64
#endif

// How many topic names are kept that the gateway told us, because a wildcard matched them.
#ifndef MQTTSN_LEARNED_TOPICS
#define MQTTSN_LEARNED_TOPICS 2
#endif

// The longest of these names; a message on a longer one is refused.
#ifndef MQTTSN_LEARNED_NAME
#define MQTTSN_LEARNED_NAME 32
#endif

// Seconds within which the gateway hears from us, or else takes us for lost.
#ifndef MQTTSN_KEEP_ALIVE_S
#define MQTTSN_KEEP_ALIVE_S 60
#endif

// Tretry and Nretry: a request without an answer is repeated after this time, and this often (MQTT-SN 1.2 §7.2).
#ifndef MQTTSN_T_RETRY_MS
#define MQTTSN_T_RETRY_MS 10000
#endif
#ifndef MQTTSN_N_RETRY
#define MQTTSN_N_RETRY 3
#endif

// Twait: how long a gateway is left alone that answered "congestion" (MQTT-SN 1.2 §7.2).
#ifndef MQTTSN_T_WAIT_MS
#define MQTTSN_T_WAIT_MS 300000
#endif

// The pause before a new CONNECT when the gateway was silent or has lost our session.
#ifndef MQTTSN_REST_MS
#define MQTTSN_REST_MS 1000
#endif
