/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The first stage: from the first octet of a frame to the ports of its segment or datagram, or to the segment that an
 * ICMP error quotes.
 */
#pragma once

#include "cursor.bpf.h"
#include "icmp.bpf.h"

#define VLAN_TAGS_MAX 2
#define VLAN_ID 0xfff                   /* IEEE 802.1Q 9.6 */
#define EXTENSIONS_MAX 6
#define IPV6_FRAGMENT 0xfff9            /* RFC 8200 4.5: the offset, and more fragments */
#define IPV6_OFFSET 0xfff8
#define TCP_FLAGS_AT 13                 /* RFC 9293 3.1: of the header, CWR to FIN */

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

static __always_inline int parse_ethernet(struct cursor *cursor, const __u8 *mac, struct packet *packet)
{
	struct ethhdr *frame = TAKE(cursor, struct ethhdr);

	if (!frame)
		return REFUSED(COUNT_MALFORMED);
	if (!same_mac(frame->h_dest, mac)) {
		/* Filters look at what Linux gets by broadcast, too. */
		if (!has(FEATURE_FILTERS))
			return REFUSED(COUNT_OTHER_MAC);
		packet->other_mac = 1;
	}
	return frame->h_proto;
}

static __always_inline int parse_vlans(struct cursor *cursor, int type, struct packet *packet)
{
	struct vlan_tag *tag;

#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		tag = TAKE(cursor, struct vlan_tag);
		if (!tag)
			return REFUSED(COUNT_MALFORMED);
		if (i == 0)
			packet->vlan = bpf_ntohs(tag->control) & VLAN_ID;
		packet->tags++;
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

/* What IP says that follows under the cursor, and what is there; form.bpf.h compares. */
static __always_inline void note_payload(struct packet *packet, const struct cursor *cursor, long payload)
{
	long before = (long)cursor->at - (long)cursor->begin;

	barrier_var(before);            /* pointers are subtracted in 64 bits, whatever becomes of the result */
	packet->there = packet->octets - before;
	packet->ip_at = packet->tags * sizeof(struct vlan_tag) + sizeof(struct ethhdr);
	packet->payload = payload;
}

static __always_inline int parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	struct iphdr *ip = take_ipv4(cursor);

	if (!ip)
		return REFUSED(COUNT_MALFORMED);
	cursor->ip = ip;
	packet->version = 4;
	address_of_ipv4(packet->to.address, &ip->daddr);
	if (has(FEATURES_ABOUT_SENDERS)) {
		address_of_ipv4(packet->from, &ip->saddr);
		note_payload(packet, cursor, (long)bpf_ntohs(ip->tot_len) - ip->ihl * 4);
	}
	packet->fragment = fragment_of(bpf_ntohs(ip->frag_off), IPV4_FRAGMENT, IPV4_OFFSET);
	return ip->protocol;
}

/* An extension header is a part of the payload of IPv6 (RFC 8200 3). */
static __always_inline void note_header(struct packet *packet, __u32 octets)
{
	if (has(FEATURES_ABOUT_SENDERS)) {
		packet->payload -= octets;
		packet->there -= octets;
	}
}

/* RFC 8200 4.5; an atomic fragment (RFC 6946) is a whole packet. */
static __always_inline int parse_ipv6_fragment(struct cursor *cursor, struct packet *packet)
{
	struct fragment_header *header = TAKE(cursor, struct fragment_header);

	if (!header)
		return REFUSED(COUNT_MALFORMED);
	note_header(packet, sizeof(*header));
	packet->fragment = fragment_of(bpf_ntohs(header->offset), IPV6_FRAGMENT, IPV6_OFFSET);
	return header->next;
}

/* RFC 8200 4.3, 4.4, 4.6. AH counts its length differently, and is not for this stack. */
static __always_inline int is_ipv6_extension(int type)
{
	return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS;
}

static __always_inline int parse_ipv6_extension(struct cursor *cursor, struct packet *packet)
{
	struct extension *header = TAKE(cursor, struct extension);
	__u32 rest;

	if (!header)
		return REFUSED(COUNT_MALFORMED);
	rest = header->length * 8;
	if (cursor->at + rest > cursor->end)
		return REFUSED(COUNT_MALFORMED);
	cursor->at += rest;
	note_header(packet, sizeof(*header) + rest);
	return header->next;
}

static __always_inline int parse_ipv6(struct cursor *cursor, struct packet *packet)
{
	struct ipv6hdr *ip = TAKE(cursor, struct ipv6hdr);
	int next;

	if (!ip || ip->version != 6)
		return REFUSED(COUNT_MALFORMED);
	cursor->ip = ip;
	packet->version = 6;
	address_of_ipv6(packet->to.address, &ip->daddr);
	if (has(FEATURES_ABOUT_SENDERS)) {
		address_of_ipv6(packet->from, &ip->saddr);
		note_payload(packet, cursor, bpf_ntohs(ip->payload_len));
	}
	next = ip->nexthdr;
#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		/* After a fragment header that says so, what follows is the middle of a segment. */
		if (packet->fragment == FRAGMENT_LATER)
			return next;
		if (next == IPPROTO_FRAGMENT)
			next = parse_ipv6_fragment(cursor, packet);
		else if (is_ipv6_extension(next))
			next = parse_ipv6_extension(cursor, packet);
		else
			return next;
	}
	if (next == IPPROTO_FRAGMENT || is_ipv6_extension(next))
		return REFUSED(COUNT_EXTENSIONS);
	return next;
}

static __always_inline void note_transport(struct packet *packet, const struct cursor *cursor)
{
	long before = (long)cursor->transport - (long)cursor->begin;

	barrier_var(before);
	packet->transport_at = before;
}

/* The ports; the datagram itself is the kernel's. */
static __always_inline int parse_udp(struct cursor *cursor, struct packet *packet)
{
	struct udphdr *udp = TAKE(cursor, struct udphdr);

	if (!udp)
		return REFUSED(COUNT_NOT_TCP);
	cursor->transport = udp;
	note_transport(packet, cursor);
	packet->has_ports = 1;
	packet->from_port = udp->source;
	packet->said = bpf_ntohs(udp->len);
	port_of(packet, udp->dest, IPPROTO_UDP);
	return REFUSED(COUNT_NOT_TCP);
}

static __always_inline void note_tcp(struct packet *packet, const struct tcphdr *tcp)
{
	packet->tcp_begins = 1;
	packet->tcp_flags = ((const __u8 *)tcp)[TCP_FLAGS_AT];
	packet->said = tcp->doff * 4;
}

/* The ports, which a first fragment has too (RFC 791 3.1: 8 octets at least). */
static __always_inline int parse_tcp(struct cursor *cursor, struct packet *packet)
{
	struct tcp_start *start = cursor->at;
	struct tcphdr *whole = NULL;

	if (!packet->fragment) {
		whole = TAKE(cursor, struct tcphdr);
		if (!whole)
			return REFUSED(COUNT_MALFORMED);
	}
	if ((void *)(start + 1) > cursor->end)
		return REFUSED(COUNT_MALFORMED);
	cursor->transport = start;
	packet->has_ports = 1;
	port_of(packet, start->dest, IPPROTO_TCP);
	if (has(FEATURES_ABOUT_SENDERS)) {
		note_transport(packet, cursor);
		packet->from_port = start->source;
		if (whole)
			note_tcp(packet, whole);
	}
	return 0;
}

/* 0 for TCP, and for ICMP about a segment, with the packet filled in; or REFUSED. */
static __always_inline int parse_transport(struct cursor *cursor, int protocol, struct packet *packet)
{
	packet->protocol = protocol;
	if (packet->fragment == FRAGMENT_LATER)
		return protocol == IPPROTO_TCP ? 0 : REFUSED(COUNT_NOT_TCP);
	if (protocol == IPPROTO_TCP)
		return parse_tcp(cursor, packet);
	if (is_icmp(protocol))
		return parse_icmp(cursor, protocol, packet);
	if (has(FEATURES_ABOUT_SENDERS) && protocol == IPPROTO_UDP)
		return parse_udp(cursor, packet);
	return REFUSED(COUNT_NOT_TCP);
}

static __always_inline int parse_ip(struct cursor *cursor, struct packet *packet)
{
	int protocol;

	if (packet->ethertype == bpf_htons(ETH_P_IP))
		protocol = parse_ipv4(cursor, packet);
	else if (packet->ethertype == bpf_htons(ETH_P_IPV6))
		protocol = parse_ipv6(cursor, packet);
	else
		return REFUSED(COUNT_NOT_IP);
	return protocol < 0 ? protocol : parse_transport(cursor, protocol, packet);
}

/* 0 with the packet filled in (its port only where it is no later fragment), or REFUSED. */
static __always_inline int parse(struct cursor *cursor, const __u8 *mac, struct packet *packet)
{
	int type = parse_vlans(cursor, parse_ethernet(cursor, mac, packet), packet);
	int refused;

	if (type < 0)
		return type;
	packet->ethertype = type;
	refused = parse_ip(cursor, packet);
	return packet->other_mac ? REFUSED(COUNT_OTHER_MAC) : refused;
}
