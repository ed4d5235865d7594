// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * For DPDK's net_af_xdp, which insists on a program with a map of this name, attaches it and puts its sockets there. It
 * is taken off again as soon as they are open; steer.bpf.c then says which packets they get.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	/* Never true: a program that does not use the map would be loaded without it. */
	if (ctx->data > ctx->data_end)
		return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
