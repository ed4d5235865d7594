// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The kernel half of Underpass: what is the stack's goes to its AF_XDP socket, everything else stays Linux's. A
 * pipeline: each stage has a header of its own, ends a packet with a verdict and a counted reason, or lets it go on.
 *
 *     frame -> parse -> filter -> limit -> deliver: claimed, or an own flow? -- yes -> admit -> this queue's socket,
 *                       (features)         |-> ICMP about a segment of ours -----> the same     or DROP
 *                                          \-> not TCP, malformed, fragment, unclaimed --> PASS
 *
 * Where no feature is asked for (features.bpf.h), only parse and deliver are left.
 */
#include "admit.bpf.h"
#include "claim.bpf.h"
#include "count.bpf.h"
#include "parse.bpf.h"
#include "scratch.bpf.h"
#include "detect.bpf.h"
#include "filter.bpf.h"
#include "rates.bpf.h"
#include "samples.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* A packet of ours never goes up: the kernel knows nothing of the connection and would reset it. */
static __always_inline int redirect(struct xdp_md *ctx, struct packet *packet, __u32 reason)
{
	int verdict = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP);

	if (verdict != XDP_REDIRECT)
		return drop_packet(packet, COUNT_NO_SOCKET);
	count(reason);
	return verdict;
}

/* Without its first fragment a packet of ours is never put together by the kernel, which would reset its connection. */
static __always_inline int steer_fragment(struct packet *packet)
{
	if (packet->whose != KERNELS)
		return drop_packet(packet, COUNT_FIRST_FRAGMENT);
	return pass(flags_of_address(&packet->to) ? COUNT_FRAGMENT : COUNT_UNCLAIMED);
}

/* For segments to a claimed port, before the engine gets them: known flows first, SYN cookies (admit.bpf.h). */
static __always_inline int admit(struct xdp_md *ctx, struct packet *packet)
{
	int verdict = GO_ON;

	if (has(FEATURE_COOKIES | FEATURE_FLOWS) && packet->transport_at) {
		packet->now_ns = now_of(packet);
		verdict = admit_segment(ctx, packet, packet->ip_at, packet->transport_at);
	}
	if (has(FEATURE_CONNECTIONS) && verdict <= GO_ON && is_syn(packet) && limit_begins(packet, 1))
		return XDP_DROP;
	return verdict;
}

/* Whose a TCP segment is, or the one that an error quotes. */
static __always_inline int whose_is(const struct packet *packet, const struct steer_config *is)
{
	if (is_claimed(&packet->to))
		return CLAIMED;
	return is_own_flow(&packet->to, is) ? OWN_FLOW : KERNELS;
}

/* A port of own flows: nobody connects to it, so there are no cookies. */
static __always_inline int deliver_own(struct xdp_md *ctx, struct packet *packet)
{
	if (may_refuse_own(ctx)) {
		packet->now_ns = now_of(packet);
		if (admit_own(ctx, packet))
			return XDP_DROP;
	}
	return redirect(ctx, packet, COUNT_FLOW);
}

/* The last stage: the stack's to the stack, the kernel's to the kernel. */
static __always_inline int deliver(struct xdp_md *ctx, struct packet *packet)
{
	int verdict;

	if (packet->fragment)
		return steer_fragment(packet);
	if (packet->whose == KERNELS)
		return pass(packet->error ? COUNT_NOT_TCP : COUNT_UNCLAIMED);
	if (packet->error)
		return redirect(ctx, packet, COUNT_ERROR);
	if (packet->whose == OWN_FLOW)
		return deliver_own(ctx, packet);
	verdict = admit(ctx, packet);
	if (verdict <= GO_ON)
		return redirect(ctx, packet, verdict ? REASON(verdict) : COUNT_CLAIMED);
	return verdict;
}

/* The stages of the shield: a verdict, or GO_ON. */
static __always_inline int shield_from(struct xdp_md *ctx, struct packet *packet)
{
	int verdict = has(FEATURE_FILTERS) ? filter(ctx, packet) : GO_ON;

	if (verdict)
		return verdict;
	if (has(FEATURE_DETECTION))
		detect(packet);
	return has(FEATURE_RATES) ? limit(packet) : GO_ON;
}

static __always_inline int steer_packet(struct xdp_md *ctx, __u32 octets)
{
	struct cursor cursor = { .at = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	const struct steer_config *is = current_config();
	struct scratch *scratch = scratch_of_cpu();
	struct packet *packet;
	int verdict;
	__u8 why;

	if (!is || !scratch)
		return XDP_PASS;
	packet = blank_packet(scratch);
	cursor.begin = cursor.at;
	packet->octets = octets;
	packet->refused = parse(&cursor, is->mac, packet);
	if (!packet->refused && packet->fragment != FRAGMENT_LATER)
		packet->whose = whose_is(packet, is);
	verdict = shield_from(ctx, packet);
	if (has(FEATURE_SAMPLES) && packet->why)
		sample(ctx, packet);
	if (verdict)
		return verdict;
	if (packet->refused)
		return pass(REASON(packet->refused));
	why = packet->why;
	verdict = deliver(ctx, packet);
	if (has(FEATURE_SAMPLES) && packet->why != why)
		sample(ctx, packet);
	return verdict;
}

static __always_inline int steer_linear(struct xdp_md *ctx)
{
	long octets = (long)ctx->data_end - (long)ctx->data;

	barrier_var(octets);            /* from here on it is a number, not a difference of pointers to be rearranged */
	return steer_packet(ctx, octets);
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	return steer_linear(ctx);
}

/* For an MTU over one page: the packet may go on in further buffers (Linux 5.18, and 6.6 for AF_XDP). */
SEC("xdp.frags")
int steer_frags(struct xdp_md *ctx)
{
	return steer_packet(ctx, has(FEATURES_ABOUT_SENDERS) ? bpf_xdp_get_buff_len(ctx) : 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
