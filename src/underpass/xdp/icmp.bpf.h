/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * ICMP errors that quote a segment (RFC 792, RFC 4443 3). Whose it is, the quoted segment's source tells: the sender.
 */
#pragma once

#include "cursor.bpf.h"

#define ICMP_UNREACHABLE 3              /* RFC 792 */
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMPV6_UNREACHABLE 1            /* RFC 4443 3: 1 to 4 */
#define ICMPV6_PARAMETER_PROBLEM 4

struct icmp_start {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

static __always_inline int is_icmp(int protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* Errors about a packet, as opposed to questions, answers and what routers announce. */
static __always_inline int is_icmp_error(int protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMP)
		return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
	return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
}

static __always_inline int parse_quoted_ipv4(struct cursor *cursor, struct packet *packet)
{
	struct iphdr *ip = take_ipv4(cursor);

	if (!ip || ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(IPV4_OFFSET))
		return REFUSED(COUNT_NOT_TCP);
	address_of_ipv4(packet->to.address, &ip->saddr);
	return 0;
}

/* The stack sends no extension headers, so none are quoted. */
static __always_inline int parse_quoted_ipv6(struct cursor *cursor, struct packet *packet)
{
	struct ipv6hdr *ip = TAKE(cursor, struct ipv6hdr);

	if (!ip || ip->version != 6 || ip->nexthdr != IPPROTO_TCP)
		return REFUSED(COUNT_NOT_TCP);
	address_of_ipv6(packet->to.address, &ip->saddr);
	return 0;
}

/* 0 with the packet's `to` set to the address and port that sent the quoted segment, or REFUSED. */
static __always_inline int parse_icmp(struct cursor *cursor, int protocol, struct packet *packet)
{
	struct icmp_start *icmp = TAKE(cursor, struct icmp_start);
	struct tcp_start *start;
	int refused;

	if (icmp)
		packet->icmp_type = icmp->type;
	if (!icmp || packet->fragment || !is_icmp_error(protocol, icmp->type))
		return REFUSED(COUNT_NOT_TCP);
	if (protocol == IPPROTO_ICMP)
		refused = parse_quoted_ipv4(cursor, packet);
	else
		refused = parse_quoted_ipv6(cursor, packet);
	if (refused)
		return refused;
	start = TAKE(cursor, struct tcp_start);
	if (!start)
		return REFUSED(COUNT_NOT_TCP);
	port_of(packet, start->source, IPPROTO_TCP);
	packet->error = 1;
	return 0;
}
