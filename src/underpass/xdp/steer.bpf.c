// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The kernel half of Underpass: what is the stack's goes to its AF_XDP socket, everything else stays Linux's. A
 * pipeline: each stage has a header of its own, ends a packet with a verdict and a counted reason, or lets it go on.
 *
 *     frame -> parse -> filter -> limit -> steer: claimed, or an own flow? -- yes -> admit -> this queue's socket,
 *               |        shield.bpf.h        |-> ICMP about a segment of ours -----> the same     or DROP
 *               |        (features)          \-> not TCP, malformed, fragment, unclaimed --> PASS
 *
 * Where no feature is asked for (features.bpf.h), only parse and steer are left.
 */
#include "claim.bpf.h"
#include "count.bpf.h"
#include "parse.bpf.h"
#include "shield.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* A packet of ours never goes up: the kernel knows nothing of the connection and would reset it. */
static __always_inline int redirect(struct xdp_md *ctx, __u32 reason)
{
	int verdict = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP);

	count(verdict == XDP_REDIRECT ? reason : COUNT_NO_SOCKET);
	return verdict;
}

/* Without its first fragment a packet of ours is never put together by the kernel, which would reset its connection. */
static __always_inline int steer_fragment(const struct packet *packet, const struct steer_config *is)
{
	if (packet->fragment == FRAGMENT_FIRST && (is_claimed(&packet->to) || is_own_flow(&packet->to, is))) {
		count(COUNT_FIRST_FRAGMENT);
		return XDP_DROP;
	}
	return pass(flags_of_address(&packet->to) ? COUNT_FRAGMENT : COUNT_UNCLAIMED);
}

/*
 * An error about a segment of ours tells the kernel nothing: it has no such connection. For all others it is the other
 * way round.
 */
static __always_inline int steer_error(struct xdp_md *ctx, const struct packet *packet, const struct steer_config *is)
{
	if (is_claimed(&packet->to) || is_own_flow(&packet->to, is))
		return redirect(ctx, COUNT_ERROR);
	return pass(COUNT_NOT_TCP);
}

/* For segments to a claimed port, before the engine gets them: known flows first, SYN cookies. */
static __always_inline int admit(struct xdp_md *ctx, struct packet *packet, const struct steer_config *is)
{
	return GO_ON;
}

/* The last stage: the stack's to the stack, the kernel's to the kernel. */
static __always_inline int deliver(struct xdp_md *ctx, struct packet *packet, const struct steer_config *is)
{
	int verdict;

	if (packet->fragment)
		return steer_fragment(packet, is);
	if (packet->error)
		return steer_error(ctx, packet, is);
	if (is_claimed(&packet->to)) {
		verdict = admit(ctx, packet, is);
		return verdict ? verdict : redirect(ctx, COUNT_CLAIMED);
	}
	if (is_own_flow(&packet->to, is))
		return redirect(ctx, COUNT_FLOW);
	return pass(COUNT_UNCLAIMED);
}

static __always_inline int steer_packet(struct xdp_md *ctx)
{
	struct cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	const struct steer_config *is = current_config();
	struct packet packet = {};
	int refused, verdict;

	if (!is)
		return XDP_PASS;
	refused = parse(&cursor, is->mac, &packet);
	if (has(FEATURE_FILTERS)) {
		verdict = filter(&packet, refused);
		if (verdict)
			return verdict;
	}
	if (has(FEATURE_RATES)) {
		verdict = limit(&packet);
		if (verdict)
			return verdict;
	}
	if (refused)
		return pass(REASON(refused));
	return deliver(ctx, &packet, is);
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	return steer_packet(ctx);
}

/* For an MTU over one page: the packet may go on in further buffers (Linux 5.18, and 6.6 for AF_XDP). */
SEC("xdp.frags")
int steer_frags(struct xdp_md *ctx)
{
	return steer_packet(ctx);
}

char _license[] SEC("license") = "Dual MIT/GPL";
