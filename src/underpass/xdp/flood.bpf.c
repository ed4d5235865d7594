// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Floods to measure under, and the least that can stop one.
 *
 * `flood` is run on live frames (BPF_F_TEST_XDP_LIVE_FRAMES): each becomes one from another source and port, with right
 * checksums, and leaves by an interface. A page comes round again as its receiver left it, who may have turned the packet round to
 * answer it: so all headers are written anew each time, and the checksums from sums over the rest.
 *
 * A test run takes 20 ms to begin, so it lasts, and keeps to its rate by itself: a frame that is not due is dropped.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEAD_WORDS 27		/* 54 octets */

struct flood_rules {
	__u32 ifindex;
	__u32 first;		/* source address */
	__u32 mask;		/* how many there are, less one; they are a power of two */
	__u32 ip_sum;		/* of the IP header without its checksum and source */
	__u32 tcp_sum;		/* of pseudo-header and segment without checksum, source and source port; 0: it is UDP */
	__u32 burst_ns;		/* from one burst to the next; 0: without a pause */
	__u16 head[HEAD_WORDS];	/* the frame's first octets, with all headers but TCP's options */
};

#define BURST 32		/* frames; a receiver that is woken for each would be what is measured */
#define DEBT_NS 10000000ull	/* what a late sender makes up for */

const volatile struct flood_rules rules;
static __u32 number = 1, left;
static __u64 next_ns;

static __always_inline int is_due(void)
{
	__u64 now_ns;

	if (rules.burst_ns == 0)
		return 1;
	if (left == 0) {
		now_ns = bpf_ktime_get_ns();
		if (now_ns < next_ns)
			return 0;
		if (next_ns + DEBT_NS < now_ns)
			next_ns = now_ns - DEBT_NS;
		next_ns += rules.burst_ns;
		left = BURST;
	}
	left--;
	return 1;
}

static __always_inline __be16 checksum_of(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return bpf_htons(~sum & 0xffff);
}

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 source, halves;
	__u16 port;

	if ((void *)(tcp + 1) > end || !is_due())
		return XDP_DROP;
	number = number * 1664525u + 1013904223u;	/* Numerical Recipes */
	source = rules.first + ((number >> 8) & rules.mask);
	halves = (source >> 16) + (source & 0xffff);
	port = 1024 + (number >> 18);
#pragma unroll
	for (int i = 0; i < HEAD_WORDS; i++)
		((__u16 *)data)[i] = rules.head[i];
	ip->saddr = bpf_htonl(source);
	ip->check = checksum_of(rules.ip_sum + halves);
	tcp->source = bpf_htons(port);			/* UDP has it in the same place */
	if (rules.tcp_sum)
		tcp->check = checksum_of(rules.tcp_sum + halves + port);
	return bpf_redirect(rules.ifindex, 0);
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
