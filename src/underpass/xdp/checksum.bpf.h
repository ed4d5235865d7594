/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Damage that checksums tell (RFC 791 3.1, RFC 9293 3.1, RFC 768): of the header of IPv4, and of TCP and UDP where the packet
 * lies in one buffer and is no longer than Ethernet's usual packets.
 */
#pragma once

#include "cursor.bpf.h"

#define SUMMED_MAX 1520
#define TCP_SUM_AT 16
#define UDP_SUM_AT 6

static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The sum of `octets` from `at` on, four by four; beyond `end` there is nothing. */
static __always_inline __u64 summed(const void *at, const void *end, int octets, int most)
{
	__u64 sum = 0;

	for (int i = 0; i < most / 4; i++) {
		if (octets < 4 || at + 4 > end)
			break;
		sum += *(const __u32 *)at;
		at += 4;
		octets -= 4;
	}
	if (octets >= 2 && at + 2 <= end) {
		sum += *(const __u16 *)at;
		at += 2;
		octets -= 2;
	}
	if (octets == 1 && at + 1 <= end)
		sum += bpf_htons(*(const __u8 *)at << 8);
	return sum;
}

/* RFC 9293 3.1, RFC 8200 8.1: addresses, protocol and length. */
static __always_inline __u64 pseudo_sum(const struct packet *packet)
{
	const __u32 *from = (const __u32 *)packet->from, *to = (const __u32 *)packet->to.address;
	__u64 sum = (__u64)bpf_htons(packet->protocol) + bpf_htons(packet->payload);

	sum += (__u64)from[3] + to[3];
	if (packet->version == 6)
		sum += (__u64)from[0] + from[1] + from[2] + to[0] + to[1] + to[2];
	return sum;
}

static __always_inline int is_ipv4_damaged(const void *data, const void *end, const struct packet *packet)
{
	const struct iphdr *ip = data + (packet->ip_at & 0xff);

	if ((void *)(ip + 1) > end)
		return 0;
	return folded(summed(ip, end, ip->ihl * 4, 60)) != 0xffff;
}

/* Where Linux has left it to the device there is the sum of the pseudo-header only: that is no damage (veth, tun, virtio). */
static __always_inline int is_transport_damaged(const void *data, const void *end, const struct packet *packet)
{
	const void *at = data + (packet->transport_at & 0x3ff);
	__u64 pseudo = pseudo_sum(packet);
	const __u16 *said = at + (packet->protocol == IPPROTO_TCP ? TCP_SUM_AT : UDP_SUM_AT);

	if (packet->payload > SUMMED_MAX || at + packet->payload > end || (void *)(said + 1) > end)
		return 0;
	if (packet->protocol == IPPROTO_UDP && !*said)
		return packet->version == 6;    /* RFC 8200 8.1: not without one */
	if (folded(pseudo) == *said)
		return 0;
	return folded(pseudo + summed(at, end, packet->payload, SUMMED_MAX)) != 0xffff;
}

/* Global: the verifier walks the sums once. */
__noinline int is_damaged(struct xdp_md *ctx, struct packet *packet)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (!packet)
		return 0;
	if (packet->version == 4 && is_ipv4_damaged(data, end, packet))
		return 1;
	if (packet->fragment || !packet->transport_at || packet->transport_at > 0x3ff || packet->error || packet->payload < 0)
		return 0;
	return is_transport_damaged(data, end, packet);
}
