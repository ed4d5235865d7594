/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What all parsers share: the cursor, and what they fill in.
 *
 * Every parser moves the cursor past its header and returns the type of what follows, or REFUSED(reason), and
 * then the packet is the kernel's. Only the linear part is read: of a multi-buffer packet, the first buffer.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"
#include "features.bpf.h"

#define REFUSED(reason) (-1 - (int)(reason))
#define REASON(refused) ((__u32)(-1 - (refused)))

#define IPV4_FRAGMENT 0x3fff            /* RFC 791 3.1: more fragments, and the offset */
#define IPV4_OFFSET 0x1fff

struct cursor {
	void *at;
	void *end;
	void *begin;
	void *ip;                       /* where the headers begin; NULL: the packet has none */
	void *transport;
};

enum fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1,             /* has the ports */
	FRAGMENT_LATER = 2,
};

/*
 * What the parsers find out about a packet, for all stages of the pipeline. There is no pointer in it: it lies in a map
 * (scratch.bpf.h). It comes zeroed: what the packet does not have, or what lies beyond the place where a parser gave up, stays
 * 0. `from`, the ports of what is not TCP, flags, types and lengths are there only with a feature that asks for them
 * (FEATURES_ABOUT_SENDERS).
 */
struct packet {
	__u64 now_ns;                   /* the clock of the last tick, for admission */
	__u8 from[16] __attribute__((aligned(8)));      /* addresses are compared by eight octets */
	struct claim_key to __attribute__((aligned(8))); /* for ICMP about a segment of ours: where that came from */
	__be16 from_port;
	__be16 ethertype;               /* behind the VLAN tags */
	__u16 vlan;                     /* host order: the outermost tag's identifier */
	__u8 tags;
	__u8 version;                   /* of IP */
	__u8 protocol;                  /* behind the extension headers */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 whose;
	__u8 has_ports;
	__u8 tcp_begins;                /* its header is there, with the flags */
	__u8 other_mac;
	__u8 governed;                  /* there is a policy: */
	__u8 generation;
	__u8 guarded;                   /* it has a section for this packet: */
	__u8 section;
	__u8 why;                       /* the reason to drop it; */
	__u8 would;                     /* in a dry run, which lets it go on */
	__u8 allowed;                   /* by the policy: nothing but its form is looked at */
	__u16 ip_at;                    /* offsets of the headers */
	__u16 transport_at;
	__u32 octets;                   /* of the frame */
	int payload;                    /* behind the headers of IP, as they say; it may be less than nothing */
	int there;                      /* and what the frame has there */
	__u16 said;                     /* the length of a datagram, or of a segment's header, as it says */
	int fragment;
	int refused;                    /* why it is not for the stack: REFUSED(reason); 0: it is TCP */
	int error;                      /* not the segment itself, but ICMP about one that came from there */
};

struct tcp_start {                      /* what the shortest first fragment has of a segment (RFC 791 3.1: 8 octets) */
	__be16 source;
	__be16 dest;
	__be32 seq;
};

/* The header under the cursor, which moves past it; NULL where the packet ends before it does. */
#define TAKE(cursor, type) ((type *)take(cursor, sizeof(type)))

static __always_inline void *take(struct cursor *cursor, __u32 octets)
{
	void *header = cursor->at;

	if (header + octets > cursor->end)
		return NULL;
	cursor->at = header + octets;
	return header;
}

/*
 * IPv4's header with its options; NULL where it is not whole, or another version. The barrier: what is compared must be what is
 * added, for the verifier; clang 19 and later would compute it twice.
 */
static __always_inline struct iphdr *take_ipv4(struct cursor *cursor)
{
	struct iphdr *ip = TAKE(cursor, struct iphdr);
	__u32 octets;

	if (!ip || ip->version != 4)
		return NULL;
	octets = ip->ihl * 4;
	barrier_var(octets);
	if (octets < sizeof(*ip) || !take(cursor, octets - sizeof(*ip)))
		return NULL;
	return ip;
}

/*
 * What is read as one word right after is written as one, or the processor would have to put it together first. Of what lies in
 * a map clang does not know the alignment, and would write octet by octet.
 */
#define PUT(at, word) __builtin_memcpy(__builtin_assume_aligned(at, sizeof(word)), &(word), sizeof(word))

static __always_inline void address_of_ipv4(__u8 *into, const __be32 *address)
{
	__u64 high = 0, low = (__u64)*address << 32 | 0xffff0000;

	PUT(into, high);
	PUT(into + 8, low);
}

static __always_inline void address_of_ipv6(__u8 *into, const struct in6_addr *address)
{
	const __be32 *from = address->in6_u.u6_addr32;
	__u64 high = (__u64)from[1] << 32 | from[0], low = (__u64)from[3] << 32 | from[2];

	PUT(into, high);
	PUT(into + 8, low);
}

/* The port that a packet is for, with its protocol: the last word of a claim's key. */
static __always_inline void port_of(struct packet *packet, __be16 port, __u8 protocol)
{
	__u32 word = (__u32)protocol << 16 | port;

	PUT(&packet->to.port, word);
}
