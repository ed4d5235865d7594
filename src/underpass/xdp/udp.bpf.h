/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Whether a socket of Linux waits for a datagram on a port that Linux chose: as those do that have asked somebody. */
#pragma once

#include "policy.bpf.h"

static __always_inline void tuple_of(const struct packet *packet, struct bpf_sock_tuple *tuple)
{
	if (packet->version == 4) {
		__builtin_memcpy(&tuple->ipv4.saddr, packet->from + 12, 4);
		__builtin_memcpy(&tuple->ipv4.daddr, packet->to.address + 12, 4);
		tuple->ipv4.sport = packet->from_port;
		tuple->ipv4.dport = packet->to.port;
	} else {
		__builtin_memcpy(tuple->ipv6.saddr, packet->from, 16);
		__builtin_memcpy(tuple->ipv6.daddr, packet->to.address, 16);
		tuple->ipv6.sport = packet->from_port;
		tuple->ipv6.dport = packet->to.port;
	}
}

static __always_inline int is_udp_reply(struct xdp_md *ctx, const struct packet *packet, const struct scope *scope)
{
	__u16 port = bpf_ntohs(packet->to.port);
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 octets = packet->version == 4 ? sizeof(tuple.ipv4) : sizeof(tuple.ipv6);

	if (port < scope->chosen_first || port > scope->chosen_last)
		return 0;
	tuple_of(packet, &tuple);
	socket = bpf_sk_lookup_udp(ctx, &tuple, octets, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}
