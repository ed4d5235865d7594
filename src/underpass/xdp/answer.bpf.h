/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Turn a SYN into the SYN-ACK that answers it, in the same packet: MACs and addresses swapped, tags kept, IP options
 * and extension headers left out, as ip/template.pyx and tcp/cookies.pyx would have it.
 */
#pragma once

#include "count.bpf.h"
#include "syn.bpf.h"

#define OPTION_WORDS_MAX 6              /* MSS, SACK permitted, timestamps (3), window scale */
#define ANSWER_HOP_LIMIT 64
#define MAC_BYTES 6

struct answer {
	__u64 addresses[4];             /* ours, theirs */
	__u32 ip_at;                    /* octets of Ethernet header and tags */
	__u32 seq;                      /* numbers in host order, ports as on the wire */
	__u32 ack;
	__be16 from_port;
	__be16 to_port;
	__u16 window;
	__u8 flags;
	__u8 version;
	__u32 option_words;
	__be32 options[OPTION_WORDS_MAX];
};

static __always_inline void option_add(struct answer *answer, __be32 word)
{
	__u32 at = answer->option_words++;

	if (at < OPTION_WORDS_MAX)
		answer->options[at] = word;
}

static __always_inline void swap_macs(void *frame)
{
	__u16 *to = frame, *from = frame + MAC_BYTES;

#pragma unroll
	for (int i = 0; i < MAC_BYTES / 2; i++) {
		__u16 part = to[i];

		to[i] = from[i];
		from[i] = part;
	}
}

/* DF is set, so the identification may be 0 (RFC 6864 4.1). */
static __always_inline void write_ipv4(void *at, const struct answer *answer, __u32 tcp_bytes)
{
	struct iphdr *ip = at;
	__u32 ours = answer->addresses[1] >> 32, theirs = answer->addresses[3] >> 32;
	__u16 length = bpf_htons(sizeof(*ip) + tcp_bytes);
	__u64 sum = bpf_htons(0x4500);

	sum += length + bpf_htons(0x4000) + bpf_htons(ANSWER_HOP_LIMIT << 8 | IPPROTO_TCP);
	sum += (__u64)ours + theirs;
	*(__be32 *)at = bpf_htons(0x4500) | (__u32)length << 16;
	*(__be32 *)(at + 4) = bpf_htonl(0x4000);
	ip->ttl = ANSWER_HOP_LIMIT;
	ip->protocol = IPPROTO_TCP;
	ip->check = ~folded(sum);
	ip->saddr = ours;
	ip->daddr = theirs;
}

static __always_inline void write_ipv6(void *at, const struct answer *answer, __u32 tcp_bytes)
{
	struct ipv6hdr *ip = at;

	*(__be32 *)at = bpf_htonl(0x60000000);
	ip->payload_len = bpf_htons(tcp_bytes);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = ANSWER_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, answer->addresses, 16);
	__builtin_memcpy(&ip->daddr, answer->addresses + 2, 16);
}

/* All of it but the checksum, which is returned; NULL checks are the caller's. */
static __always_inline __u16 write_tcp(__be32 *at, const struct answer *answer, __u32 tcp_bytes)
{
	__u64 sum = pseudo_sum_of(answer->addresses, tcp_bytes);
	__be32 words[4];

	words[0] = answer->from_port | (__u32)answer->to_port << 16;
	words[1] = bpf_htonl(answer->seq);
	words[2] = bpf_htonl(answer->ack);
	words[3] = bpf_htonl(tcp_bytes / 4 << 28 | answer->flags << 16 | answer->window);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		at[i] = words[i];
		sum += words[i];
	}
#pragma unroll
	for (int i = 0; i < OPTION_WORDS_MAX; i++)
		if (i < answer->option_words)
			sum += answer->options[i];
	return ~folded(sum);
}

/* The SYN has become its answer: XDP_TX. GO_ON where the packet has no room for it: the engine will answer. */
static __noinline int send_answer(struct xdp_md *ctx, const struct answer *answer)
{
	__u32 tcp_bytes = sizeof(struct tcphdr) + 4 * answer->option_words;
	__u32 ip_bytes = answer->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	long size = answer->ip_at + ip_bytes + tcp_bytes;
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip;
	long room = end - data;
	__be32 *tcp;

	barrier_var(room);              /* else it becomes a difference of 32 bits, which is refused for pointers */
	if (bpf_xdp_adjust_tail(ctx, size - room))
		return GO_ON;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = data + (answer->ip_at & IP_AT_MAX);
	tcp = ip + ip_bytes;
	if (data + sizeof(struct ethhdr) > end || ip + sizeof(struct ipv6hdr) > end || (void *)(tcp + 5) > end)
		return drop(COUNT_SYN_MALFORMED);
	swap_macs(data);
	if (answer->version == 4)
		write_ipv4(ip, answer, tcp_bytes);
	else
		write_ipv6(ip, answer, tcp_bytes);
	tcp[4] = write_tcp(tcp, answer, tcp_bytes);
#pragma unroll
	for (int i = 0; i < OPTION_WORDS_MAX; i++) {
		if (i >= answer->option_words)
			break;
		if ((void *)(tcp + 6 + i) > end)
			return drop(COUNT_SYN_MALFORMED);
		tcp[5 + i] = answer->options[i];
	}
	count(COUNT_SYN_ANSWERED);
	return XDP_TX;
}
