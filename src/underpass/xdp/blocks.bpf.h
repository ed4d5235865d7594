/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Prefixes that are blocked for a time: few lengths of them, a hash for each packet and length. */
#pragma once

#include "policy.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BLOCKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct block_key);
	__type(value, struct block);
} blocks SEC(".maps");

#define OF_DETECTION 256                /* for hash_of: beyond the numbers of rates */

/* The first `bits` of eight octets. */
static __always_inline __u64 masked(__be64 octets, int bits)
{
	if (bits <= 0)
		return 0;
	if (bits >= 64)
		return octets;
	return octets & bpf_cpu_to_be64(~0ull << (64 - bits));
}

/* The source's prefix of that length; IPv4 lies in the last four octets, behind 96 bits that are the same for all. */
static __always_inline void prefix_of(const struct packet *packet, __u8 length, struct block_key *key)
{
	const __be64 *from = (const __be64 *)packet->from;
	int bits = packet->version == 4 ? length + 96 : length;

	((__be64 *)key->address)[0] = masked(from[0], bits);
	((__be64 *)key->address)[1] = masked(from[1], bits - 64);
	key->length = length;
}

/*
 * Of a prefix and a number: multiplied and folded, with a seed each time, so that nobody outside can make two prefixes meet.
 * The factors are those of MurmurHash3 (public domain) and of the golden ratio.
 */
static __always_inline __u64 hash_of(const struct block_key *prefix, const __u64 *seeds, __u64 which)
{
	const __u64 *half = (const __u64 *)prefix->address;
	__u64 hash = (half[0] ^ seeds[0]) * 0xff51afd7ed558ccdull;

	hash = ((hash ^ hash >> 32) + (half[1] ^ seeds[1]) + which) * 0xc4ceb9fe1a85ec53ull;
	hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

static __always_inline int is_in_force(struct block *block)
{
	if (block->until_ns && bpf_ktime_get_ns() >= block->until_ns)
		return 0;
	block->packets++;
	return 1;
}

/* What was said by hand, or found out, about the source: a block_kind, or 0. An allowance counts more than blocks. */
static __always_inline __u32 said_of(const struct packet *packet, const struct guard *guard)
{
	const __u8 *lengths = packet->version == 4 ? guard->state->v4_lengths : guard->state->v6_lengths;
	struct block_key key = {};
	struct block *block;
	__u32 said = 0;

	if (!guard->state->has_blocks)
		return 0;
	for (int i = 0; i < BLOCK_LENGTHS_MAX; i++) {
		if (!lengths[i])
			break;
		prefix_of(packet, lengths[i] - 1, &key);
		block = bpf_map_lookup_elem(&blocks, &key);
		if (block && is_in_force(block) && said < block->kind)
			said = block->kind;
	}
	return said;
}
