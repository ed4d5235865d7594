/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Some of the packets that are dropped, for people to look at: the beginning of one a tick on each processor. */
#pragma once

#include "count.bpf.h"
#include "scratch.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SAMPLES_MAX);
	__type(key, __u32);
	__type(value, struct sample);
} samples SEC(".maps");

static __always_inline void keep(struct xdp_md *ctx, const struct packet *packet, __u64 number)
{
	__u32 place = number & (SAMPLES_MAX - 1);
	struct sample *it = bpf_map_lookup_elem(&samples, &place);
	__u32 kept = packet->octets;

	if (!it || !kept)
		return;
	if (kept > SAMPLE_OCTETS)
		kept = SAMPLE_OCTETS;
	it->again = number;
	barrier();
	it->time_ns = bpf_ktime_get_ns();
	it->octets = packet->octets;
	it->kept = kept;
	it->reason = packet->why;
	it->section = packet->section;
	it->dry_run = packet->would;
	bpf_xdp_load_bytes(ctx, 0, it->frame, kept);
	barrier();
	it->number = number;
}

/* As `drop`, of a packet that is sampled by what `why` says. What an earlier stage would have dropped is dropped now. */
static __always_inline int drop_packet(struct packet *packet, __u32 reason)
{
	if (has(FEATURE_SAMPLES)) {
		packet->why = reason;
		packet->would = 0;
	}
	return drop(reason);
}

/* For a packet that was dropped, or would be. */
static __always_inline void sample(struct xdp_md *ctx, struct packet *packet)
{
	struct scratch *scratch = (struct scratch *)packet;     /* its first member */
	__u64 tick = bpf_jiffies64();

	if (scratch->sampled == tick)
		return;
	scratch->sampled = tick;
	keep(ctx, packet, ++scratch->samples);
}
