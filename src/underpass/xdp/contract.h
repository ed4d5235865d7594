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

#define CONTRACT_VERSION 2  /* another one for each layout of the maps: no program goes on with those of another */

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

/*
 * Admission: SYN cookies, and known flows before new ones. Times are the engine's clock.
 *
 * `admit_config` is written by whoever loads the program. `flow_bucket` and `admission` are memory-mapped: workers
 * write them without a system call. `pressure` is mapped too: they read it.
 */
#define FLOW_SLOTS 8        /* as tcp/flows.pxd has it: a bucket is a cache line */
#define FRESH_SLOTS 4096    /* flows whose cookie was good, which the engine may not have seen yet */
#define PRESSURE_SHIFT 27   /* SYNs are counted by windows of 2^27 ns: 134 ms */

enum cookie_mode {
	COOKIES_OFF = 0,
	COOKIES_AUTO = 1,       /* while there is pressure: too many SYNs, or too many half-open connections */
	COOKIES_ALWAYS = 2,
};

enum admission_level {          /* what a worker that is overloaded has refused */
	LEVEL_ALL = 0,          /* nothing */
	LEVEL_COOKIES = 1,      /* SYNs are answered by cookies, whatever the pressure, unless these are off */
	LEVEL_NO_SYNS = 2,      /* and SYNs are dropped; who holds a cookie may still come */
	LEVEL_KNOWN = 3,        /* and everything that is of no known flow */
};

struct admit_config {           /* the single entry of the map `admit_how` */
	__u64 cookie_key[2];    /* the engine's secrets: SYN cookies, */
	__u64 secret[2];        /* timestamps' offsets, */
	__u64 flow_key[2];      /* and the table of flows */
	__u64 clock_offset_ns;  /* what the engine's clock is ahead of the kernel's: a time namespace's */
	__u64 hold_ns;          /* how long cookies stay on after the last sign of pressure */
	__u32 mode;             /* enum cookie_mode */
	__u32 bucket_mask;      /* of the map `flows` */
	__u32 syns_on;          /* SYNs in a window at which cookies begin, */
	__u32 syns_off;         /* and below which they may end */
	__u32 half_open_on;     /* the same for half-open connections, in 256ths of a worker's room */
	__u32 half_open_off;
	__u32 sources_first;    /* of the map `flows`: the buckets of sources are these, */
	__u32 sources_count;    /* and so many; 0: nobody counts connections by source */
	__u16 mss_v4;           /* what a SYN-ACK says, in host order */
	__u16 mss_v6;
	__u16 window;
	__u8 window_scale;
	__u8 ecn;               /* agree to it where it is offered */
	__u8 partial_checksums; /* a checksum that equals the pseudo-header's sum was left to the device */
	__u8 zero[7];
};

struct flow_bucket {
	__u64 slots[FLOW_SLOTS];
};

/*
 * Behind the buckets of flows and their tags lie a quarter as many of sources: how many connections each worker has with a prefix. Slots are
 * written as those of flows are, each by one worker; the program adds up what workers have (tcp/sources.pxd).
 *
 *     | hash of the prefix, 32 bits | connections, 24 bits | worker + 1 |   x 8 = one bucket; it stands in either of two
 *
 * The first bucket says what is counted: a word for each pair of lengths, 0: none.
 */
#define SOURCE_KINDS 2
#define SOURCE_KIND(v4, v6) (1ULL << 24 | (__u64)(v6) << 16 | (v4) << 8)        /* the lowest octet is nobody's */
#define SOURCE_COUNT_MAX 0xffffff
#define SOURCE_FACTOR 0x9e3779b1U       /* the upper half of the hash times this names the second bucket */

struct admission {              /* of each receive queue, by the worker that serves it */
	__u64 until_ns;         /* the level ends then: a worker that is no more refuses nothing */
	__u32 level;            /* enum admission_level */
	__u32 half_open;        /* in 256ths of its room */
	__u64 zero[6];          /* a cache line: workers do not share one */
};

struct pressure {
	__u64 syns;             /* number of the window, and SYNs in it, in the lower half */
	__u64 until_ns;         /* with COOKIES_AUTO: they are on until then; 0: they are off */
	__u64 cookie_ns;        /* when a cookie was last sent, to a window's length */
	__u64 began;            /* how often cookies went on */
	__u64 zero[4];
};

/* What is in the program: the bits of its read-only global `features`. A stage costs nothing where it is not. */
enum feature {
	FEATURE_FILTERS = 1,    /* lists, protocols, ports, flags, fragments, lengths, checksums */
	FEATURE_RATES = 2,      /* token buckets, by source and by service */
	FEATURE_DETECTION = 4,  /* heavy hitters, and blocks of them */
	FEATURE_COOKIES = 16,   /* SYN cookies */
	FEATURE_FLOWS = 32,     /* known flows before new ones */
	FEATURE_LISTS = 8,      /* lists of prefixes */
	FEATURE_SAMPLES = 64,   /* some of the packets that are dropped are kept for whoever asks */
	FEATURE_CONNECTIONS = 128,      /* how many connections a source may begin, and have */
};

/* The program's read-only globals: fixed before it is loaded, so that the verifier takes out what is off. */
struct built_in {
	__u32 features;
	__u32 source_mask;      /* of the map `sources`: a power of two less 1 */
	__u32 version;          /* CONTRACT_VERSION */
	__u32 zero;
};

/* Those that ask who sent the packet, and what it carries besides TCP. */
#define FEATURES_ABOUT_SENDERS \
	(FEATURE_FILTERS | FEATURE_RATES | FEATURE_DETECTION | FEATURE_COOKIES | FEATURE_FLOWS)

/*
 * Where a packet went and why: one counter each. The order is that of the map `counters`; the text is what
 * `underpass stats` shows.
 */
#define COUNTERS(X) \
	X(CLAIMED, "redirected_claimed")        /* to a socket: its port is claimed */ \
	X(KNOWN, "redirected_known")            /* the same, looked up and found: a flow of the stack's */ \
	X(COOKIE, "redirected_cookie")          /* the same: it brings back a SYN cookie of ours */ \
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
	X(CONNECTIONS, "dropped_connections")   /* its source has too many connections */ \
	X(SYN_ANSWERED, "answered_cookie")      /* a SYN, by a SYN cookie */ \
	X(SYN_MALFORMED, "dropped_syn_malformed") /* a SYN that no cookie can answer: checksum, options, addresses */ \
	X(STRANGER, "dropped_stranger")         /* while there are cookies: of no known flow, and brings no cookie back */ \
	X(LEVEL_SYN, "dropped_overload_syn")    /* a SYN: its worker is overloaded */ \
	X(LEVEL_STRANGER, "dropped_overload_stranger") /* of no known flow: its worker is badly overloaded */ \
	X(NEW, "dropped_new_connections")       /* its source, or all of them together, begin too many connections */

#define AS_ENUM(name, text) COUNT_##name,
enum counter { COUNTERS(AS_ENUM) COUNTERS_MAX };
#undef AS_ENUM

#ifndef __bpf__
#define AS_TEXT(name, text) text,
static const char *const counter_texts[] = { COUNTERS(AS_TEXT) };
#undef AS_TEXT
#endif

/*
 * The shield's policy. Everything that depends on it is there twice, as two generations: a new policy is written into the
 * one that is not `active`, and then one word is changed.
 */
#define GENERATIONS 2
#define SCOPES_MAX 16           /* sections of a policy: the interface, all services, some services by themselves */
#define SCOPE_RULES_MAX 64      /* rules of one section */
#define RULES_MAX 256           /* of all sections */
#define LISTS_MAX 62            /* of prefixes, by file or in the policy */
#define CLASSES_MAX 4096        /* different sets of lists that addresses are in */
#define SERVICES_MAX 256        /* services that an address tells apart from others on the same port */
#define BLOCKS_MAX 65536        /* prefixes that are blocked for a time */
#define BLOCK_LENGTHS_MAX 8     /* different lengths of them in each family */

enum whose {
	KERNELS = 0,
	CLAIMED = 1,            /* for a claimed port */
	OWN_FLOW = 2,           /* of a connection that the stack has opened */
};

enum scope_number {
	SCOPE_HOST = 0,         /* what is Linux's */
	SCOPE_SERVICES = 1,     /* what is claimed, if no section says more */
};

/* The list that is built in, by number. */
enum builtin_list {
	LIST_BOGONS = 63,       /* no packet comes from there by the internet: private, documentation, unassigned */
};

enum check {
	CHECK_ACTIVE = 1 << 0,          /* the section is there */
	CHECK_DRY_RUN = 1 << 1,         /* count, drop nothing */
	CHECK_FLAGS = 1 << 2,
	CHECK_LENGTHS = 1 << 3,
	CHECK_CHECKSUMS = 1 << 4,
	CHECK_MARTIANS = 1 << 5,
	CHECK_BOGONS = 1 << 6,
	CHECK_LATER_FRAGMENTS = 1 << 7, /* only first fragments are let in */
	CHECK_FRAGMENTS = 1 << 8,       /* none */
	CHECK_VLANS = 1 << 9,           /* only those of `vlans` */
	CHECK_PROTOCOLS = 1 << 10,      /* `protocols` are dropped, except UDP to open ports */
	CHECK_UDP_REPLIES = 1 << 11,    /* and except UDP for a socket on a port that Linux chose */
	CHECK_TCP_PORTS = 1 << 12,      /* connections to open ports only */
	CHECK_DEFAULT_DROP = 1 << 13,
};

enum order { ORDER_ALLOW = 1, ORDER_DENY = 2, ORDER_RULES = 3 };

#define RATES_MAX 4             /* of one section */

enum rated { RATED_PACKETS, RATED_SYNS, RATED_OCTETS, RATED_MAX };

/*
 * How much may come. Time is kept in units of 1/256 ns, which wrap after 834 days: each packet, SYN or octet moves the time at
 * which the sender would be even by `step` units of 2^-16; it may be ahead of the clock by `burst`, a day at the most.
 */
struct rate {
	__u64 step[RATED_MAX];  /* 0: as much as they like */
	__u64 burst;
	__u8 of_service;        /* all sources together; else each prefix of these lengths */
	__u8 v4_length;
	__u8 v6_length;
	__u8 zero[5];
};

struct rate_state {
	__u64 even[RATED_MAX];
};

/* How many connections may be begun, in the units above, and had at a time. */
struct begin_rate {
	__u64 step;             /* 0: as many as they like */
	__u64 burst;
	__u32 most;             /* at a time, of one source; 0: as many as it likes */
	__u8 of_service;
	__u8 v4_length;
	__u8 v6_length;
	__u8 zero;
};

/*
 * Sources by a hash of their prefix, the section and the rate, which nobody outside can foresee. Where a set is full, the one
 * that is least ahead of the clock makes room: one that is even, as most are, loses nothing.
 */
#define SOURCE_WAYS 4

struct source {
	__u64 hash;             /* 0: nobody */
	struct rate_state state;
};

struct source_set {             /* two cache lines */
	struct source ways[SOURCE_WAYS];
};

struct scope {
	__u64 allow;            /* lists, a bit each */
	__u64 deny;
	__u64 protocols[4];     /* dropped, a bit each */
	__u64 vlans[64];        /* let in, a bit each; 0: untagged */
	__u32 checks;
	__u16 rule_first;
	__u16 rule_count;
	__u16 chosen_first;     /* host order: ports that Linux chooses by itself */
	__u16 chosen_last;
	__u8 order[4];          /* what decides first, second, third; 0: nothing more */
	__u32 rate_count;
	struct rate rates[RATES_MAX];
	__u64 begin_count;
	struct begin_rate begins[RATES_MAX];
};

enum action { ACTION_PASS = 1, ACTION_DROP = 2, ACTION_COUNT = 3 };

/* What a rule asks; what it does not ask is "any". */
enum asks {
	ASKS_VERSION = 1, ASKS_PROTOCOL = 2, ASKS_FROM = 4, ASKS_TO = 8, ASKS_LISTS = 16, ASKS_FROM_PORT = 32,
	ASKS_TO_PORT = 64, ASKS_FLAGS = 128, ASKS_VLAN = 256,
};

struct rule {
	__u64 from[2];          /* masked */
	__u64 from_mask[2];
	__u64 to[2];
	__u64 to_mask[2];
	__u64 lists;            /* the source is in one of them */
	__u32 asks;
	__u16 from_port[2];     /* host order: first and last */
	__u16 to_port[2];
	__u16 vlan;             /* 0: untagged */
	__u16 number;           /* several entries may be one rule */
	__u8 version;
	__u8 protocol;
	__u8 flags;             /* as masked */
	__u8 flags_mask;
	__u8 action;
	__u8 zero[3];
};

enum port_flags {
	PORT_UDP_OPEN = 1, PORT_TCP_OPEN = 2, PORT_UDP_CLOSED = 4, PORT_TCP_CLOSED = 8,
	PORT_BY_ADDRESS = 16,   /* the service's address tells which section is meant */
};

struct port {
	__u8 scope;             /* of a service on it */
	__u8 flags;
};

/*
 * Heavy senders: a count-min sketch of two rows, for windows of 2^30 ns. What a source has sent in this window is at most the
 * lower of its two counts.
 */
#define SKETCH_ROWS 2
#define SKETCH_BITS 14
#define SKETCH_SAMPLE 64        /* so many packets of a source make one entry of `heavy` */
#define HEAVY_MAX 4096
#define WINDOW_BITS 30

struct cell {
	__u32 window;
	__u32 packets;
};

struct sketch {
	struct cell rows[SKETCH_ROWS][1 << SKETCH_BITS];
};

struct heavy {
	__u32 window;           /* in which it was counted last */
	__u32 packets;          /* until then in that window */
	__u64 total;            /* in all windows, about */
	__u64 first_ns;
	__u16 port;             /* host order: what the last packet was */
	__u8 protocol;
	__u8 flags;
	__u32 zero;
};

struct detection {
	__u64 packets;          /* more than so many in a window are too many; 0: none are */
	__u64 block_ns;         /* how long the source is blocked; 0: not at all */
	__u8 v4_length;
	__u8 v6_length;
	__u8 dry_run;
	__u8 zero[5];
};

/* The single entry of the map `detector`, across generations. */
struct detector {
	__s64 room;             /* for so many more blocks */
	__u64 blocked;
	__u64 would_block;      /* in dry runs */
	__u64 refused;          /* there was no room */
};

struct policy {
	__u64 seeds[2];         /* of the hashes of sources: other ones for each policy */
	struct detection detection;
	struct scope scopes[SCOPES_MAX];
	struct rule rules[RULES_MAX];
	__u64 classes[CLASSES_MAX];     /* the lists of each class, a bit each */
	struct port ports[65536];
};

/* The single entry of the map `shield`. */
struct shield_state {
	__u32 active;           /* the generation */
	__u32 loaded;           /* 0: there is no policy */
	__u8 v4_lengths[BLOCK_LENGTHS_MAX];     /* of blocks that there may be, 0: no more; + 1, so that /0 is one */
	__u8 v6_lengths[BLOCK_LENGTHS_MAX];
	__u32 has_blocks;       /* 0: there are none, and nobody looks for them */
	__u32 zero;
};

/*
 * Which 32 bits of an address may be in a list: a Bloom filter in blocks (Putze, Sanders and Singler 2007), all bits of a key
 * in one word. Twice, by two hashes: one of 27 others gets past the first, which with a million keys (1 MiB) is no larger than
 * a second-level cache, and so few of these past the second that it matters little where that lies.
 */
#define BLOOM_WORDS_BITS 17             /* of words of each, at most */
#define BLOOM_WORDS (1 << BLOOM_WORDS_BITS)
#define BLOOM_KEYS_OF_WORD 8            /* until there are more than those words have room for */

struct bloom {
	__u32 shift;            /* of a hash, to the number of its word: 64 less the bits of that, 1 at least */
	__u32 zero;
	__u64 first[BLOOM_WORDS];
	__u64 second[BLOOM_WORDS];
};

/* The highest bits number a word, those from 28 to 45 three bits in it. The factors are of the golden ratio and of MurmurHash3. */
static inline __attribute__((always_inline)) __u64 bloom_hash(__u32 key)
{
	return key * 0x9e3779b97f4a7c15ull;
}

static inline __attribute__((always_inline)) __u64 bloom_rehash(__u64 hash)
{
	return (hash ^ hash >> 32) * 0xc4ceb9fe1a85ec53ull;
}

static inline __attribute__((always_inline)) __u64 bloom_bits(__u64 hash)
{
	return 1ull << (hash >> 40 & 63) | 1ull << (hash >> 34 & 63) | 1ull << (hash >> 28 & 63);
}

/*
 * Prefix lists as ranges: what has been sorted and cut up beforehand is found with one binary search, whatever lengths the
 * prefixes have. In front of it stand gates that most senders do not get past: a Bloom filter of single addresses (of IPv6:
 * of prefixes of 32 bits), and for what is wider bits for each /16 and each /24.
 */
#define V4_INDEX_BITS 16
#define V6_INDEX_BITS 18

struct v4_lists {
	struct bloom few;       /* addresses of ranges with few */
	__u64 wide[1 << 10];    /* a bit for each /16 in which there are others, */
	__u64 nets[1 << 18];    /* and for each /24 */
	__u32 index[(1 << V4_INDEX_BITS) + 2];  /* how many ranges begin below the addresses that begin with these bits */
};

struct v4_range {
	__u32 start;            /* host order; the first one is 0 */
	__u32 class;
};

/* Ranges lie in an array of arrays: what is within one of them is searched without a call. */
#define V4_PAGE_BITS 9
#define V6_PAGE_BITS 7

struct v4_page {
	struct v4_range ranges[1 << V4_PAGE_BITS];
};

struct v6_lists {
	struct bloom few;       /* the first 32 bits, of ranges with few of these */
	__u64 wide[1 << 10];    /* a bit for each /16 in which there are others */
	__u32 index[(1 << V6_INDEX_BITS) + 2];
};

struct v6_range {
	__u64 high;
	__u64 low;
	__u32 class;
	__u32 zero;
};

struct v6_page {
	struct v6_range ranges[1 << V6_PAGE_BITS];
};

#define POLICY_TEXT_MAX 65532

/* As it was written, for those who ask what is loaded; the XDP program does not look at it. */
struct policy_text {
	__u32 octets;
	__u8 text[POLICY_TEXT_MAX];
};

struct block_key {
	__u8 address[16];       /* masked */
	__u8 length;            /* of 128, or of 32 for IPv4 */
	__u8 zero[7];
};

enum block_kind { BLOCK_BY_HAND = 1, BLOCK_HEAVY = 2, ALLOW_BY_HAND = 3 };

struct block {
	__u64 until_ns;         /* CLOCK_MONOTONIC; 0: until it is taken off */
	__u64 since_ns;
	__u64 packets;          /* that it decided on, about */
	__u32 kind;
	__u32 zero;
};

/* Packets and octets that something was decided on; the map `tallies` has them by CPU. */
struct tally {
	__u64 packets;
	__u64 octets;
};

/*
 * Some of what the shield drops: on each processor one a tick at the most, the last SAMPLES_MAX of them. `again` is written first
 * and `number` last: where a copy has two different ones, it was taken while the place was written.
 */
#define SAMPLES_MAX 128
#define SAMPLE_OCTETS 256

struct sample {
	__u64 number;           /* from 1 on */
	__u64 time_ns;          /* CLOCK_MONOTONIC */
	__u32 octets;           /* of the packet; what is kept of it: */
	__u32 kept;
	__u8 reason;            /* enum counter */
	__u8 section;
	__u8 dry_run;           /* it would have been dropped */
	__u8 zero[5];
	__u8 frame[SAMPLE_OCTETS];
	__u64 again;
};

#define REASONS_MAX 64
#define TALLY_RULES 0                                           /* by a rule's number */
#define TALLY_LISTS (TALLY_RULES + RULES_MAX)                   /* by a list's, builtin ones too */
#define TALLY_DROPPED (TALLY_LISTS + 64)                        /* by section and reason */
#define TALLY_WOULD_DROP (TALLY_DROPPED + SCOPES_MAX * REASONS_MAX)     /* the same, by dry runs */
#define TALLIES_MAX (TALLY_WOULD_DROP + SCOPES_MAX * REASONS_MAX)

#endif
