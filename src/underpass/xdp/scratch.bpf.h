/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What a processor has at hand while it looks at a packet: one at a time, since neither XDP nor test runs are interrupted by
 * another packet on it.
 *
 * The parsers fill `packet` in here rather than on the stack. To the verifier what lies in a map may be anything: however many
 * ways lead through the parsers, it looks at what follows once. So the stages are one function. A call costs more than most
 * of them (11 ns with a return that is not guessed, where the processor may not guess).
 */
#pragma once

#include <stddef.h>

#include "cursor.bpf.h"

#define PACKET_ZEROED (offsetof(struct packet, to.port) / 8)      /* from here on, in words */

struct scratch {
	struct packet packet;
	__u64 tick;             /* jiffies, */
	__u64 now_ns;           /* and what the clock said then */
	__u64 sampled;          /* jiffies at the last sample, */
	__u64 samples;          /* and how many there were */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch_of_cpu(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&scratches, &only);
}

/* Addresses are read of what has them alone, so what an earlier packet has left there does no harm. By words: clang would not. */
static __always_inline struct packet *blank_packet(struct scratch *scratch)
{
	__u64 *words = (__u64 *)&scratch->packet;

#pragma unroll
	for (int i = PACKET_ZEROED; i < sizeof(struct packet) / 8; i++)
		words[i] = 0;
	return &scratch->packet;
}

/*
 * CLOCK_MONOTONIC at a tick or two ago. The clock is asked once a tick: to read jiffies is one load, to ask the clock a call.
 */
static __always_inline __u64 now_of(struct packet *packet)
{
	struct scratch *scratch = (struct scratch *)packet;     /* its first member */
	__u64 tick = bpf_jiffies64();

	if (scratch->tick != tick) {
		scratch->tick = tick;
		scratch->now_ns = bpf_ktime_get_coarse_ns();
	}
	return scratch->now_ns;
}
