/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Who sends most: a count-min sketch says what each source has sent in this second, at no cost in memory, and every 64th
 * packet of a source notes it by name. One that sends too much is blocked for a time, if the policy says so and an allow
 * list does not.
 */
#pragma once

#include "blocks.bpf.h"
#include "policy.bpf.h"
#include "scratch.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sketch);
} sketches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, HEAVY_MAX);
	__type(key, struct block_key);
	__type(value, struct heavy);
} heavies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct detector);
} detector SEC(".maps");

static __always_inline __u32 add_to(struct cell *cell, __u32 window)
{
	if (cell->window != window) {
		cell->window = window;
		cell->packets = 0;
	}
	return ++cell->packets;
}

/* About how many packets came from the prefix in this window, this one included; never too few. */
static __always_inline __u32 sent_by(const struct block_key *key, const __u64 *seeds, __u32 window)
{
	__u64 hash = hash_of(key, seeds, OF_DETECTION);
	struct sketch *sketch;
	__u32 only = 0, one, other;

	sketch = bpf_map_lookup_elem(&sketches, &only);
	if (!sketch)
		return 0;
	one = add_to(&sketch->rows[0][hash & ((1 << SKETCH_BITS) - 1)], window);
	other = add_to(&sketch->rows[1][hash >> (64 - SKETCH_BITS)], window);
	return one < other ? one : other;
}

static __always_inline void note(const struct packet *packet, const struct block_key *key, __u32 window, __u32 sent, __u64 now)
{
	struct heavy *heavy = bpf_map_lookup_elem(&heavies, key);
	struct heavy fresh = { .first_ns = now };

	if (!heavy)
		heavy = &fresh;
	heavy->window = window;
	heavy->packets = sent;
	heavy->total += SKETCH_SAMPLE;
	heavy->port = packet->has_ports ? bpf_ntohs(packet->to.port) : 0;
	heavy->protocol = packet->protocol;
	heavy->flags = packet->tcp_flags;
	if (heavy == &fresh)
		bpf_map_update_elem(&heavies, key, &fresh, BPF_ANY);
}

/* Blocked from now on, where there is room and it is not blocked already. */
static __always_inline void block_heavy(const struct block_key *key, const struct detection *by, __u64 now)
{
	struct block block = { .since_ns = now, .until_ns = now + by->block_ns, .kind = BLOCK_HEAVY };
	struct shield_state *state;
	struct detector *detector_;
	struct block *before;
	__u32 only = 0;

	detector_ = bpf_map_lookup_elem(&detector, &only);
	if (!detector_)
		return;
	if (by->dry_run) {
		detector_->would_block++;
		return;
	}
	before = bpf_map_lookup_elem(&blocks, key);
	if (before && (!before->until_ns || before->until_ns > now))
		return;
	if ((!before && detector_->room <= 0) || bpf_map_update_elem(&blocks, key, &block, BPF_ANY)) {
		detector_->refused++;
		return;
	}
	state = bpf_map_lookup_elem(&shield, &only);
	if (state)
		state->has_blocks = 1;
	if (!before)
		__sync_fetch_and_add(&detector_->room, -1);
	detector_->blocked++;
}

/*
 * Behind `filter`, which notes the section. What an allow list has let in is noted, but never blocked; nor is what the policy
 * has no section for.
 */
static __always_inline void detect(struct packet *packet)
{
	struct detection *by;
	struct policy *policy;
	struct block_key key = {};
	__u32 generation, window, sent;
	__u64 now;

	if (!packet->governed || !packet->version)
		return;
	generation = packet->generation & 1;
	policy = bpf_map_lookup_elem(&policies, &generation);
	if (!policy || !policy->detection.packets)
		return;
	by = &policy->detection;
	now = now_of(packet);
	window = now >> WINDOW_BITS;
	prefix_of(packet, packet->version == 4 ? by->v4_length : by->v6_length, &key);
	sent = sent_by(&key, policy->seeds, window);
	if (sent % SKETCH_SAMPLE == 0)
		note(packet, &key, window, sent, now);
	if (sent > by->packets && (sent - by->packets) % SKETCH_SAMPLE == 1 && by->block_ns && packet->guarded &&
	    !packet->allowed)
		block_heavy(&key, by, now);
}
