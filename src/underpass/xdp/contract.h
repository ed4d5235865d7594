/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the XDP program and user space share: every struct that crosses between them, every constant that both
 * must agree on, and the counters with their names.
 *
 * Network order where not said otherwise; IPv4 is ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
 */
#ifndef UNDERPASS_CONTRACT_H
#define UNDERPASS_CONTRACT_H

#include <linux/types.h>

#define CLAIMS_MAX 4096     /* claimed (address, protocol, port) triples of one interface */
#define ADDRESSES_MAX 1024  /* addresses that are local or claimed */
#define QUEUES_MAX 256      /* receive queues of one interface */

struct claim_key {
	__u8 address[16];
	__be16 port;
	__u8 protocol;
	__u8 zero;              /* the whole key is hashed: no octet of it may be left unset */
};

struct address_key {
	__u8 address[16];
};

enum address_flags {
	ADDRESS_LOCAL = 1,      /* own outgoing flows may come from it */
	ADDRESS_CLAIMED = 2,    /* at least one port of it is claimed */
};

/* The single entry of the map `config`, rewritten while the program runs. */
struct steer_config {
	__u8 mac[6];
	__u16 flow_first;       /* host order: ports of own outgoing flows; first > last: none */
	__u16 flow_last;
	__u16 zero;
};

/* What is in the program: the bits of its read-only global `features`. A stage costs nothing where it is not. */
enum feature {
	FEATURE_FILTERS = 1,    /* lists, protocols, ports, flags, fragments, lengths, checksums */
	FEATURE_RATES = 2,      /* token buckets and connections, by source and by service */
	FEATURE_DETECTION = 4,  /* heavy hitters, and blocks of them */
	FEATURE_SAMPLES = 8,    /* some of the dropped packets are shown */
	FEATURE_COOKIES = 16,   /* SYN cookies */
	FEATURE_FLOWS = 32,     /* known flows before new ones */
};

/* Those that ask who sent the packet, and what it carries besides TCP. */
#define FEATURES_ABOUT_SENDERS \
	(FEATURE_FILTERS | FEATURE_RATES | FEATURE_DETECTION | FEATURE_SAMPLES | FEATURE_COOKIES | FEATURE_FLOWS)

/*
 * Where a packet went and why: one counter each. The order is that of the map `counters`; the text is what
 * `underpass stats` shows.
 */
#define COUNTERS(X) \
	X(CLAIMED, "redirected_claimed")        /* to a socket: its port is claimed */ \
	X(FLOW, "redirected_flow")              /* to a socket: an own outgoing flow */ \
	X(ERROR, "redirected_icmp")             /* to a socket: an ICMP error about a segment of ours */ \
	X(NO_SOCKET, "dropped_no_socket")       /* ours, but its queue has no socket; the kernel would reset it */ \
	X(FIRST_FRAGMENT, "dropped_first_fragment") /* ours; put together, the kernel would reset the connection */ \
	X(FRAGMENT, "passed_fragment")          /* another fragment of TCP to an address of ours: the kernel's */ \
	X(UNCLAIMED, "passed_unclaimed")        /* TCP to a port that is not claimed */ \
	X(NOT_TCP, "passed_not_tcp")            /* ICMP too, unless it is an error about a segment of ours */ \
	X(NOT_IP, "passed_not_ip") \
	X(OTHER_MAC, "passed_other_mac")        /* broadcast, multicast, another host's */ \
	X(MALFORMED, "passed_malformed")        /* headers cut off or lengths that cannot be */ \
	X(EXTENSIONS, "passed_extensions")      /* more IPv6 extension headers than are followed */ \
	X(DENIED, "dropped_denied")             /* here and below: by the shield. A deny list has the source */ \
	X(BLOCKED, "dropped_blocked")           /* blocked for a time, by hand or as a heavy hitter */ \
	X(RULE, "dropped_rule")                 /* by a rule of the policy */ \
	X(DEFAULT, "dropped_default")           /* no rule passes it, and the default is to drop */ \
	X(PROTOCOL, "dropped_protocol")         /* UDP, or another protocol that is not let in */ \
	X(PORT, "dropped_port")                 /* its destination port is not let in */ \
	X(VLAN, "dropped_vlan")                 /* its VLAN is not let in */ \
	X(FLAGS, "dropped_flags")               /* TCP flags that no segment can have */ \
	X(BOGON, "dropped_bogon")               /* from an address that no packet can come from */ \
	X(IS_FRAGMENT, "dropped_fragment")      /* fragments are not let in */ \
	X(LENGTH, "dropped_length")             /* lengths that contradict each other */ \
	X(CHECKSUM, "dropped_checksum") \
	X(SOURCE_RATE, "dropped_source_rate")   /* its source sends too much */ \
	X(SERVICE_RATE, "dropped_service_rate") /* all sources together send the service too much */ \
	X(CONNECTIONS, "dropped_connections")   /* its source has too many connections */

#define AS_ENUM(name, text) COUNT_##name,
enum counter { COUNTERS(AS_ENUM) COUNTERS_MAX };
#undef AS_ENUM

#ifndef __bpf__
#define AS_TEXT(name, text) text,
static const char *const counter_texts[] = { COUNTERS(AS_TEXT) };
#undef AS_TEXT
#endif

#endif
