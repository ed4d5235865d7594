/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* From the first octet of a frame to the destination of its TCP segment, or to the segment that an ICMP error quotes. */
#pragma once

#include "cursor.bpf.h"
#include "icmp.bpf.h"

#define VLAN_TAGS_MAX 2
#define EXTENSIONS_MAX 6
#define IPV6_FRAGMENT 0xfff9            /* RFC 8200 4.5: the offset, and more fragments */
#define IPV6_OFFSET 0xfff8

struct vlan_tag {
	__be16 control;
	__be16 type;
};

struct extension {                      /* RFC 8200 4.2: how every extension header but Fragment begins */
	__u8 next;
	__u8 length;
	__u8 rest[6];
};

struct fragment_header {                /* RFC 8200 4.5 */
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 identification;
};

static __always_inline int same_mac(const void *one, const void *other)
{
	const __u16 *a = one, *b = other;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]));
}

static __always_inline int parse_ethernet(struct cursor *cursor, const __u8 *mac)
{
	struct ethhdr *frame = TAKE(cursor, struct ethhdr);

	if (!frame)
		return REFUSED(COUNT_MALFORMED);
	if (!same_mac(frame->h_dest, mac))
		return REFUSED(COUNT_OTHER_MAC);
	return frame->h_proto;
}

static __always_inline int parse_vlans(struct cursor *cursor, int type)
{
	struct vlan_tag *tag;

#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		tag = TAKE(cursor, struct vlan_tag);
		if (!tag)
			return REFUSED(COUNT_MALFORMED);
		type = tag->type;
	}
	return type;
}

static __always_inline int fragment_of(__u16 field, __u16 any, __u16 offset)
{
	if (!(field & any))
		return FRAGMENT_NONE;
	return field & offset ? FRAGMENT_LATER : FRAGMENT_FIRST;
}

static __always_inline int parse_ipv4(struct cursor *cursor, struct target *target)
{
	struct iphdr *ip = TAKE(cursor, struct iphdr);
	__u32 options;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return REFUSED(COUNT_MALFORMED);
	options = ip->ihl * 4 - sizeof(*ip);
	if (cursor->at + options > cursor->end)
		return REFUSED(COUNT_MALFORMED);
	cursor->at += options;
	address_of_ipv4(target, &ip->daddr);
	target->fragment = fragment_of(bpf_ntohs(ip->frag_off), IPV4_FRAGMENT, IPV4_OFFSET);
	return ip->protocol;
}

/* RFC 8200 4.5; an atomic fragment (RFC 6946) is a whole packet. */
static __always_inline int parse_ipv6_fragment(struct cursor *cursor, struct target *target)
{
	struct fragment_header *header = TAKE(cursor, struct fragment_header);

	if (!header)
		return REFUSED(COUNT_MALFORMED);
	target->fragment = fragment_of(bpf_ntohs(header->offset), IPV6_FRAGMENT, IPV6_OFFSET);
	return header->next;
}

/* RFC 8200 4.3, 4.4, 4.6. AH counts its length differently, and is not for this stack. */
static __always_inline int is_ipv6_extension(int type)
{
	return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS;
}

static __always_inline int parse_ipv6_extension(struct cursor *cursor)
{
	struct extension *header = TAKE(cursor, struct extension);
	__u32 rest;

	if (!header)
		return REFUSED(COUNT_MALFORMED);
	rest = header->length * 8;
	if (cursor->at + rest > cursor->end)
		return REFUSED(COUNT_MALFORMED);
	cursor->at += rest;
	return header->next;
}

static __always_inline int parse_ipv6(struct cursor *cursor, struct target *target)
{
	struct ipv6hdr *ip = TAKE(cursor, struct ipv6hdr);
	int next;

	if (!ip || ip->version != 6)
		return REFUSED(COUNT_MALFORMED);
	__builtin_memcpy(target->to.address, &ip->daddr, sizeof(target->to.address));
	next = ip->nexthdr;
#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		/* After a fragment header that says so, what follows is the middle of a segment. */
		if (target->fragment == FRAGMENT_LATER)
			return next;
		if (next == IPPROTO_FRAGMENT)
			next = parse_ipv6_fragment(cursor, target);
		else if (is_ipv6_extension(next))
			next = parse_ipv6_extension(cursor);
		else
			return next;
	}
	if (next == IPPROTO_FRAGMENT || is_ipv6_extension(next))
		return REFUSED(COUNT_EXTENSIONS);
	return next;
}

static __always_inline int parse_tcp(struct cursor *cursor, struct target *target)
{
	struct tcp_start *start = cursor->at;

	if (!target->fragment && !TAKE(cursor, struct tcphdr))
		return REFUSED(COUNT_MALFORMED);
	if ((void *)(start + 1) > cursor->end)
		return REFUSED(COUNT_MALFORMED);
	target->to.port = start->dest;
	target->to.protocol = IPPROTO_TCP;
	return 0;
}

/* 0 with the target filled in (its port only where it is no later fragment), or REFUSED. `target` comes zeroed. */
static __always_inline int parse(struct cursor *cursor, const __u8 *mac, struct target *target)
{
	int type = parse_vlans(cursor, parse_ethernet(cursor, mac));

	if (type < 0)
		return type;
	if (type == bpf_htons(ETH_P_IP))
		type = parse_ipv4(cursor, target);
	else if (type == bpf_htons(ETH_P_IPV6))
		type = parse_ipv6(cursor, target);
	else
		return REFUSED(COUNT_NOT_IP);
	if (type < 0)
		return type;
	if (is_icmp(type))
		return parse_icmp(cursor, type, target);
	if (type != IPPROTO_TCP)
		return REFUSED(COUNT_NOT_TCP);
	return target->fragment == FRAGMENT_LATER ? 0 : parse_tcp(cursor, target);
}
