// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The kernel half of Underpass: what is the stack's goes to its AF_XDP socket, everything else stays Linux's.
 *
 *     frame -> parse -> claimed, or an own flow? -- yes --> the socket of this queue; DROP if there is none
 *                   |-> ICMP about a segment of ours -----> the same
 *                   \-> not TCP, malformed, fragment, unclaimed --> PASS
 */
#include "claim.bpf.h"
#include "count.bpf.h"
#include "parse.bpf.h"

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
static __always_inline int steer_fragment(const struct target *target, const struct steer_config *is)
{
	if (target->fragment == FRAGMENT_FIRST && (is_claimed(&target->to) || is_own_flow(&target->to, is))) {
		count(COUNT_FIRST_FRAGMENT);
		return XDP_DROP;
	}
	return pass(flags_of_address(&target->to) ? COUNT_FRAGMENT : COUNT_UNCLAIMED);
}

/*
 * An error about a segment of ours tells the kernel nothing: it has no such connection. For all others it is the other
 * way round.
 */
static __always_inline int steer_error(struct xdp_md *ctx, const struct target *target, const struct steer_config *is)
{
	if (is_claimed(&target->to) || is_own_flow(&target->to, is))
		return redirect(ctx, COUNT_ERROR);
	return pass(COUNT_NOT_TCP);
}

static __always_inline int steer_packet(struct xdp_md *ctx)
{
	struct cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	const struct steer_config *is = current_config();
	struct target target = {};
	int refused;

	if (!is)
		return XDP_PASS;
	refused = parse(&cursor, is->mac, &target);
	if (refused)
		return pass(REASON(refused));
	if (target.fragment)
		return steer_fragment(&target, is);
	if (target.error)
		return steer_error(ctx, &target, is);
	if (is_claimed(&target.to))
		return redirect(ctx, COUNT_CLAIMED);
	if (is_own_flow(&target.to, is))
		return redirect(ctx, COUNT_FLOW);
	return pass(COUNT_UNCLAIMED);
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
