/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Known flows: those for which a worker keeps a connection. Workers write them into the map `flows` as it lies in their
 * memory (tcp/flows.pxd); here they are only looked up.
 *
 *     | key, 56 bits | worker + 1 |   x 8 = one bucket; a flow stands in either of two
 *     | tag, an octet for each slot |        behind all buckets
 */
#pragma once

#include "cursor.bpf.h"
#include "siphash.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);                 /* as many as the loader is told */
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FRESH_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} fresh SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, struct admission);
} admissions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct admit_config);
} admit_how SEC(".maps");

static __always_inline const struct admit_config *admit_current(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&admit_how, &only);
}

/* Both addresses, the stack's first, as words. */
static __always_inline void words_of(const struct packet *packet, __u64 *words)
{
	__builtin_memcpy(words, packet->to.address, 16);
	__builtin_memcpy(words + 2, packet->from, 16);
}

/* The flow's key: 56 bits, the lowest octet 0. As flow_key in tcp/flows.pyx. */
static __always_inline __u64 flow_key(const struct admit_config *how, const struct packet *packet)
{
	__u64 words[4];
	struct sip s;

	words_of(packet, words);
	sip_begin(&s, how->flow_key);
	sip_word13(&s, words[0]);
	sip_word13(&s, words[1]);
	sip_word13(&s, words[2]);
	sip_word13(&s, words[3]);
	sip_word13(&s, (__u64)bpf_ntohs(packet->to.port) << 16 | bpf_ntohs(packet->from_port));
	return sip_end13(&s, 40) & ~0xffULL;
}

static __always_inline int bucket_holds(const struct flow_bucket *bucket, __u64 key)
{
#pragma unroll
	for (int i = 0; i < FLOW_SLOTS; i++)
		if ((bucket->slots[i] ^ key) - 1 < 0xff)        /* they differ in the lowest octet alone, and do there */
			return 1;
	return 0;
}

/* Whether a slot has this key's tag; of 127 others with a tag, one has. */
static __always_inline int may_hold(__u64 tags, __u64 key)
{
	__u64 ones = 0x0101010101010101ULL, differs = tags ^ (key >> 56 | 1) * ones;

	return ((differs - ones) & ~differs & ones << 7) != 0;  /* an octet of it is 0 */
}

static __always_inline int is_known_key(const struct admit_config *how, __u64 key)
{
	const struct flow_bucket *found;
	__u32 at;

#pragma unroll
	for (int shift = 8; shift <= 32; shift += 32 - 8) {
		at = how->bucket_mask + 1 + (key >> shift & how->bucket_mask) / FLOW_SLOTS;
		found = bpf_map_lookup_elem(&flows, &at);
		if (!found || !may_hold(found->slots[key >> shift & (FLOW_SLOTS - 1)], key))
			continue;
		at = key >> shift & how->bucket_mask;
		found = bpf_map_lookup_elem(&flows, &at);
		if (found && bucket_holds(found, key))
			return 1;
	}
	return 0;
}

/* The flow's key; 0 where it is known. */
static __noinline __u64 stranger_key(const struct admit_config *how, const struct packet *packet)
{
	__u64 key = flow_key(how, packet);

	return is_known_key(how, key) ? 0 : key;
}

/* Between a cookie that was good and the engine's entry for its connection, more segments may arrive. */
static __always_inline int is_fresh_key(__u64 key)
{
	__u32 slot = key >> 8 & (FRESH_SLOTS - 1);
	const __u64 *found = bpf_map_lookup_elem(&fresh, &slot);

	return found && *found == key;
}

static __always_inline void fresh_add(__u64 key)
{
	__u32 slot = key >> 8 & (FRESH_SLOTS - 1);
	__u64 *place = bpf_map_lookup_elem(&fresh, &slot);

	if (place)
		*place = key;
}

static __always_inline const struct admission *admission_of(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index;

	return bpf_map_lookup_elem(&admissions, &queue);
}
