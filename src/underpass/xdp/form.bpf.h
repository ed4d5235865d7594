/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What is wrong with a packet by itself, whoever sent it. */
#pragma once

#include "parse.bpf.h"
#include "policy.bpf.h"

#define TCP_FIN 0x01                    /* RFC 9293 3.1 */
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20

#define BOOTP_SERVER 67                 /* RFC 2131 4.1: asked by who has no address yet */
#define ICMPV6_LISTENER_QUERY 130       /* RFC 2710, RFC 4861, RFC 3810: what IPv6 does not work without */
#define ICMPV6_LISTENER_DONE 132
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_REDIRECT 137
#define ICMPV6_LISTENER_REPORT 143

/* Null, Xmas, SYN with FIN or RST, FIN with RST, and FIN, PSH or URG without ACK (RFC 9293 3.10.7.4: ACK is on). */
static __always_inline int cannot_be(__u8 flags)
{
	__u8 control = flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK | TCP_URG);

	if (!(control & (TCP_SYN | TCP_RST | TCP_ACK)))
		return 1;
	if ((control & TCP_SYN) && (control & (TCP_FIN | TCP_RST)))
		return 1;
	return (control & TCP_FIN) && (control & TCP_RST);
}

/* Neighbours, routers and groups of IPv6 are found with them. */
static __always_inline int is_discovery(const struct packet *packet)
{
	__u8 type = packet->icmp_type;

	if (packet->protocol != IPPROTO_ICMPV6)
		return 0;
	return (type >= ICMPV6_LISTENER_QUERY && type <= ICMPV6_LISTENER_DONE) || type == ICMPV6_LISTENER_REPORT ||
	       (type >= ICMPV6_ROUTER_SOLICITATION && type <= ICMPV6_REDIRECT);
}

static __always_inline int is_tagged_wrong(const struct packet *packet, const struct scope *scope)
{
	__u16 vlan = packet->tags ? packet->vlan & VLAN_ID : 0;

	return !(scope->vlans[vlan >> 6] >> (vlan & 63) & 1);
}

static __always_inline int is_same_address(const struct packet *packet)
{
	const __u64 *from = (const __u64 *)packet->from, *to = (const __u64 *)packet->to.address;

	return from[0] == to[0] && from[1] == to[1];
}

/* No packet comes from there: 0/8, 127/8, 224/3; ::, ::1, ::ffff:0:0/96, ff00::/8. */
static __always_inline int is_martian(const struct packet *packet)
{
	const __be64 *half = (const __be64 *)packet->from;
	__u64 low = bpf_be64_to_cpu(half[1]);
	__u8 first = low >> 24;

	if (packet->version == 4)
		return first == 0 || first == 127 || first >= 224;
	return packet->from[0] == 0xff || (!half[0] && (low <= 1 || low >> 32 == 0xffff));
}

/* An address that nobody has, or its own destination (a "land" packet); but who asks for an address has none yet. */
static __always_inline int is_bogon(const struct packet *packet, const struct guard *guard)
{
	__u32 checks = guard->scope->checks;
	int from_nowhere = 0;

	if (checks & CHECK_MARTIANS)
		from_nowhere = is_martian(packet) || (!packet->error && is_same_address(packet));
	if (checks & CHECK_BOGONS)
		from_nowhere |= guard->lists >> LIST_BOGONS;
	return from_nowhere && !is_discovery(packet) &&
	       !(packet->protocol == IPPROTO_UDP && packet->to.port == bpf_htons(BOOTP_SERVER));
}

static __always_inline int is_fragment_refused(const struct packet *packet, __u32 checks)
{
	return packet->fragment && ((checks & CHECK_FRAGMENTS) ||
				    ((checks & CHECK_LATER_FRAGMENTS) && packet->fragment == FRAGMENT_LATER));
}

/*
 * Lengths that contradict each other: IP's and the frame's, a datagram's (RFC 768: 8 at least; a first fragment has less
 * than it says) or a segment's header's (RFC 9293 3.1: five words at least) and IP's.
 */
static __always_inline int is_length_wrong(const struct packet *packet)
{
	if (packet->refused == REFUSED(COUNT_MALFORMED) || packet->payload < 0 || packet->payload > packet->there)
		return 1;
	if (packet->protocol == IPPROTO_UDP && packet->has_ports)
		return packet->said < 8 || (!packet->fragment && packet->said > packet->payload);
	return packet->tcp_begins && (packet->said < 20 || packet->said > packet->payload);
}

/* The reason to drop it for its form, or 0. */
static __always_inline __u32 misformed(const struct packet *packet, const struct scope *scope)
{
	__u32 checks = scope->checks;

	if ((checks & CHECK_VLANS) && is_tagged_wrong(packet, scope))
		return COUNT_VLAN;
	if ((checks & CHECK_LENGTHS) && is_length_wrong(packet))
		return COUNT_LENGTH;
	if (is_fragment_refused(packet, checks))
		return COUNT_IS_FRAGMENT;
	if ((checks & CHECK_FLAGS) && packet->protocol == IPPROTO_TCP && packet->tcp_begins && cannot_be(packet->tcp_flags))
		return COUNT_FLAGS;
	return 0;
}
