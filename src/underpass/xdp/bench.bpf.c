// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What the XDP program costs. For test runs: the same program, in front of which the source address becomes another one for each
 * run, or a packet that it turns into its answer what it was; and empty ones to compare with. Under a flood: the same, behind the
 * least that can stop that one.
 *
 * The addresses are those of a linear congruential generator (Numerical Recipes), all 2^32 of them in an order that no cache
 * foresees.
 */
#include "steer.bpf.c"

#define SOURCE_OF_IPV4 (sizeof(struct ethhdr) + offsetof(struct iphdr, saddr))
#define SOURCE_OF_IPV6 (sizeof(struct ethhdr) + offsetof(struct ipv6hdr, saddr))
#define ORIGINAL_MAX 124

static __always_inline __u32 next_of(__u32 number)
{
	return number * 1664525u + 1013904223u;
}

static __always_inline void another_source(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__be32 *v4 = data + SOURCE_OF_IPV4, *v6 = data + SOURCE_OF_IPV6;
	struct ethhdr *frame = data;
	__u32 next;

	if ((void *)(v6 + 4) > end)
		return;
	if (frame->h_proto == bpf_htons(ETH_P_IP)) {
		*v4 = bpf_htonl(next_of(bpf_ntohl(*v4)));
		return;
	}
	/* Within 2000::/3. The last word holds the number. */
	next = next_of(bpf_ntohl(v6[3]));
	v6[0] = bpf_htonl(0x20000000 | next >> 3);
	v6[1] = bpf_htonl(next << 3);
	v6[3] = bpf_htonl(next);
}

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* A flood is known by the router that passes it on (apps/bench/floods.py): by the last octets of its MAC address. */
SEC("xdp")
int bare_drop(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const __be32 *source = data + offsetof(struct ethhdr, h_source) + 2;

	if ((void *)(source + 1) <= end && *source == bpf_htonl(0x000012fe))
		return XDP_DROP;
	return steer_linear(ctx);
}

SEC("xdp")
int empty_random(struct xdp_md *ctx)
{
	another_source(ctx);
	return XDP_DROP;
}

SEC("xdp")
int steer_random(struct xdp_md *ctx)
{
	another_source(ctx);
	return steer_linear(ctx);
}

/* A frame as it is before each run. */
struct original {
	__u32 bytes;
	__u8 octets[ORIGINAL_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct original);
} originals SEC(".maps");

static __always_inline void put_back(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct original *original;
	long bytes = end - data;
	__u32 only = 0;

	original = bpf_map_lookup_elem(&originals, &only);
	barrier_var(bytes);             /* as in answer.bpf.h */
	if (!original || original->bytes - 1 >= ORIGINAL_MAX || bpf_xdp_adjust_tail(ctx, original->bytes - bytes))
		return;
	bytes = original->bytes;
	barrier_var(bytes);
	if (bytes > 0 && bytes <= ORIGINAL_MAX)
		bpf_xdp_store_bytes(ctx, 0, original->octets, bytes);
}

SEC("xdp")
int empty_put_back(struct xdp_md *ctx)
{
	put_back(ctx);
	return XDP_DROP;
}

SEC("xdp")
int steer_put_back(struct xdp_md *ctx)
{
	put_back(ctx);
	return steer_linear(ctx);
}
