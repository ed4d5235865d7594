/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * SYN cookies (RFC 4987 3.6): those of the engine, made and checked here with the same keys and the same clock, so
 * that it accepts what comes back whoever has answered the SYN. tcp/cookies.pxd has their form.
 */
#pragma once

#include "answer.bpf.h"
#include "flows.bpf.h"
#include "samples.bpf.h"

#define COOKIE_PERIOD_NS 64000000000ULL
#define TICK_MAX_NS 20000000ULL         /* in which the engine may have made one; so much of its life a cookie loses */
#define COOKIE_NO_SCALE 0x0f
#define COOKIE_SACK 0x10
#define COOKIE_ECN 0x20
#define COOKIE_BITS 0x3f
#define COOKIE_STAMPED 0x40
#define OFFERS 8
#define TIMESTAMP_OFFSET 2              /* the purpose of a hash, as in tcp/isn.pyx */
#define TIMESTAMP_SHIFT 20

/* Where the segment's headers are, in octets from the packet's first, and what decides about it. */
struct places {
	__u32 ip;
	__u32 tcp;
	__u32 partial_checksums;
	const struct admission *worker;
	struct pressure *pressure;
};

/* The engine's clock a tick or two ago. */
static __always_inline __u64 clock_of_tick(const struct admit_config *how, const struct packet *packet)
{
	return packet->now_ns + how->clock_offset_ns;
}

static __always_inline __u64 ports_of(const struct packet *packet)
{
	return bpf_ntohs(packet->to.port) | (__u64)bpf_ntohs(packet->from_port) << 16;
}

/* `carried`: the MSS's index, and what the timestamp carries above it. */
static __noinline __u32 cookie_of(const struct admit_config *how, const struct packet *packet, __u32 irs, __u32 count,
				  __u32 carried)
{
	__u64 words[4];
	struct sip s;

	words_of(packet, words);
	sip_begin(&s, how->cookie_key);
	sip_word24(&s, words[0]);
	sip_word24(&s, words[1]);
	sip_word24(&s, words[2]);
	sip_word24(&s, words[3]);
	sip_word24(&s, ports_of(packet) | (__u64)irs << 32);
	sip_word24(&s, count | (__u64)carried << 32);
	return ((__u32)sip_end24(&s, 48) & ~0xfU) | (count & 1) << 3 | (carried & (OFFERS - 1));
}

/* What is added to the clock in the TSval of this flow. */
static __noinline __u32 timestamp_offset(const struct admit_config *how, const struct packet *packet)
{
	__u64 words[4];
	struct sip s;

	words_of(packet, words);
	sip_begin(&s, how->secret);
	sip_word24(&s, words[0]);
	sip_word24(&s, words[1]);
	sip_word24(&s, words[2]);
	sip_word24(&s, words[3]);
	sip_word24(&s, ports_of(packet) | (__u64)TIMESTAMP_OFFSET << 32);
	return sip_end24(&s, 40);
}

/* The largest of the eight that is not above what the SYN offers. */
static __always_inline __u32 mss_index(const struct packet *packet, const struct offer *offer)
{
	__u16 mss = packet->version == 4 ? 536 : 1220;

	if (offer->options & OFFERED_MSS)
		mss = offer->mss;
	return (mss >= 536) + (mss >= 1220) + (mss >= 1360) + (mss >= 1400) + (mss >= 1440) + (mss >= 1460) +
	       (mss >= 8940);
}

static __always_inline __u32 carried_by_stamp(const struct admit_config *how, const struct packet *packet,
					      const struct offer *offer)
{
	__u32 options = COOKIE_STAMPED | COOKIE_NO_SCALE;

	if (!(offer->options & OFFERED_TIMESTAMPS))
		return 0;
	if (offer->options & OFFERED_SCALE)
		options = COOKIE_STAMPED | offer->scale;
	if (offer->options & OFFERED_SACK)
		options |= COOKIE_SACK;
	if (how->ecn && (packet->tcp_flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR))
		options |= COOKIE_ECN;
	return options;
}

/* The latest TSval up to this one that ends in those bits. */
static __always_inline __u32 stamp_of(__u32 ts_val, __u32 options)
{
	__u32 stamp = (ts_val & ~COOKIE_BITS) | (options & COOKIE_BITS);

	return (__s32)(stamp - ts_val) > 0 ? stamp - (COOKIE_BITS + 1) : stamp;
}

/* RFC 9293 3.9.2.3, MUST-63: an address that one station can have; and not the packet's own destination. */
static __always_inline int may_answer(const struct packet *packet, const __u64 *addresses)
{
	if (addresses[0] == addresses[2] && addresses[1] == addresses[3])
		return 0;
	if (packet->version == 4)
		return packet->from[12] != 0 && packet->from[12] != 127 && packet->from[12] < 224;
	return packet->from[0] != 0xff && addresses[2] != 0;
}

/* Octets of TCP header and payload, as IP says; 0 where that cannot be. */
static __always_inline __u32 tcp_bytes_of(const struct packet *packet, const void *ip, const void *end, __u32 before)
{
	const struct ipv6hdr *v6 = ip;
	const struct iphdr *v4 = ip;
	__u32 total;

	if (packet->version == 4) {
		if ((void *)(v4 + 1) > end)
			return 0;
		total = bpf_ntohs(v4->tot_len);
	} else {
		if ((void *)(v6 + 1) > end)
			return 0;
		total = bpf_ntohs(v6->payload_len) + sizeof(*v6);
	}
	return total > before && total - before <= SYN_OCTETS_MAX ? total - before : 0;
}

/* RFC 791 3.1: the checksum of a header of so many octets. */
static __always_inline int header_is_whole(struct xdp_md *ctx, __u32 ip_at, __u32 octets)
{
	__u32 *word = (void *)(long)ctx->data + (ip_at & IP_AT_MAX);
	__u64 sum;

	if (octets != sizeof(struct iphdr)) {
		sum = sum_of(ctx, ip_at, octets);
		return sum != NOT_THERE && folded(sum) == 0xffff;
	}
	if ((void *)(word + 5) > (void *)(long)ctx->data_end)
		return 0;
	return folded((__u64)word[0] + word[1] + word[2] + word[3] + word[4]) == 0xffff;
}

/* Both checksums (RFC 791 3.1, RFC 9293 3.1 MUST-3); `partial`: TCP's, where it may have been left to the device. */
static __always_inline int arrived_whole(struct xdp_md *ctx, const struct answer *answer, __u32 tcp_at, __u32 tcp_bytes,
					 __u64 partial)
{
	__u64 pseudo = pseudo_sum_of(answer->addresses, tcp_bytes), sum;

	if (answer->version == 4 && !header_is_whole(ctx, answer->ip_at, tcp_at - answer->ip_at))
		return 0;
	if (partial == folded(pseudo))
		return 1;
	sum = sum_of(ctx, tcp_at, tcp_bytes);
	return sum != NOT_THERE && folded(sum + pseudo) == 0xffff;
}

/* Read a SYN's offer and number; 0 where it is not to be answered. */
static __noinline int read_syn(struct xdp_md *ctx, const struct packet *packet, const struct places *at,
			       struct offer *offer, struct answer *answer)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = data + (at->tcp & TCP_AT_MAX);
	__u32 tcp_bytes, header_bytes;
	__u64 partial = NOT_THERE;

	if ((void *)(tcp + 1) > end || packet->tags > 1)
		return 0;
	header_bytes = tcp->doff * 4;
	tcp_bytes = tcp_bytes_of(packet, data + (at->ip & IP_AT_MAX), end, at->tcp - at->ip);
	if (header_bytes < sizeof(*tcp) || header_bytes > tcp_bytes || !tcp->source)
		return 0;
	answer->ack = bpf_ntohl(tcp->seq) + 1;
	answer->ip_at = at->ip;
	words_of(packet, answer->addresses);
	if (at->partial_checksums)
		partial = tcp->check;
	return may_answer(packet, answer->addresses) &&
	       !read_options((void *)(tcp + 1), end, header_bytes - sizeof(*tcp), offer) &&
	       arrived_whole(ctx, answer, at->tcp, tcp_bytes, partial);
}

/* What the cookie's timestamp lets us agree to, with the timestamp; in the engine's order. */
static __always_inline void agree(struct answer *answer, const struct admit_config *how, const struct offer *offer,
				  __u32 options, __u32 stamp)
{
	__u16 mss = answer->version == 4 ? how->mss_v4 : how->mss_v6;

	option_add(answer, bpf_htonl(0x02040000 | mss));
	if (!options)
		return;
	if (options & COOKIE_SACK)
		option_add(answer, bpf_htonl(0x01010402));
	option_add(answer, bpf_htonl(ALIGNED_TIMESTAMPS));
	option_add(answer, bpf_htonl(stamp));
	option_add(answer, bpf_htonl(offer->ts_val));
	if ((options & COOKIE_NO_SCALE) != COOKIE_NO_SCALE)
		option_add(answer, bpf_htonl(0x01030300 | how->window_scale));
}

/* Answer a SYN by a cookie; nothing is kept. */
static __noinline int answer_syn(struct xdp_md *ctx, struct packet *packet, const struct admit_config *how,
				 const struct places *at, __u64 now)
{
	struct answer answer = { .from_port = packet->to.port, .to_port = packet->from_port, .window = how->window,
				 .version = packet->version, .flags = TCP_SYN | TCP_ACK };
	struct offer offer = {};
	__u32 options, stamp = 0;

	if (!read_syn(ctx, packet, at, &offer, &answer))
		return drop_packet(packet, COUNT_SYN_MALFORMED);
	options = carried_by_stamp(how, packet, &offer);
	if (options)
		stamp = stamp_of((__u32)(now >> TIMESTAMP_SHIFT) + timestamp_offset(how, packet), options);
	if (options & COOKIE_ECN)
		answer.flags |= TCP_ECE;
	answer.seq = cookie_of(how, packet, answer.ack - 1, now / COOKIE_PERIOD_NS,
			       mss_index(packet, &offer) | options << 8);
	agree(&answer, how, &offer, options, stamp);
	return send_answer(ctx, &answer);
}

/* Whether this segment acknowledges a cookie. The engine asks again: what it is told here it need not believe. */
static __noinline int brings_cookie(struct xdp_md *ctx, const struct packet *packet, const struct admit_config *how,
				    const struct places *at)
{
	void *end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = (void *)(long)ctx->data + (at->tcp & TCP_AT_MAX);
	__u32 cookie, irs, options = 0, count = (clock_of_tick(how, packet) + TICK_MAX_NS) / COOKIE_PERIOD_NS;
	struct offer offer = {};

	if ((void *)(tcp + 1) > end || tcp->doff < 5)
		return 0;
	irs = bpf_ntohl(tcp->seq) - 1;
	cookie = bpf_ntohl(tcp->ack_seq) - 1;
	if (read_options((void *)(tcp + 1), end, tcp->doff * 4 - sizeof(*tcp), &offer))
		return 0;
	if (offer.options & OFFERED_TIMESTAMPS)
		options = COOKIE_STAMPED | (offer.ts_ecr & COOKIE_BITS);
	count -= (count ^ cookie >> 3) & 1;
	return cookie == cookie_of(how, packet, irs, count, (cookie & (OFFERS - 1)) | options << 8);
}
