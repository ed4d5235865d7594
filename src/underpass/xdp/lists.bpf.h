/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Which prefix lists an address is in: most senders end at a gate, the others are looked for in sorted ranges. */
#pragma once

#include "policy.bpf.h"

#define V4_STEPS 17             /* of ranges below one /16, 2^16 at most */
#define V6_STEPS 23             /* of all ranges, 2^22 at most */

/* By size: the compiler leaves out what an inner map's type is. */
#define INNER(name, flags) \
	struct name##_inner { \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(max_entries, 1); \
		__uint(map_flags, flags); \
		__uint(key_size, sizeof(__u32)); \
		__uint(value_size, sizeof(struct name)); \
	}

#define OF_EACH_GENERATION(name, map) \
	struct { \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); \
		__uint(max_entries, GENERATIONS); \
		__type(key, __u32); \
		__array(values, struct name##_inner); \
	} map SEC(".maps")

INNER(v4_lists, BPF_F_MMAPABLE);
INNER(v4_page, BPF_F_MMAPABLE | BPF_F_INNER_MAP);       /* as many as there are */
INNER(v6_lists, BPF_F_MMAPABLE);
INNER(v6_page, BPF_F_MMAPABLE | BPF_F_INNER_MAP);

OF_EACH_GENERATION(v4_lists, v4_lists);
OF_EACH_GENERATION(v4_page, v4_ranges);
OF_EACH_GENERATION(v6_lists, v6_lists);
OF_EACH_GENERATION(v6_page, v6_ranges);

/*
 * The class of the last range that begins at or below the address; `from` and `to` are where the index says it is. A page is
 * fetched by a call, so it is fetched again only where the next step is in another one.
 */
static __always_inline __u32 search_v4(void *ranges, __u32 address, __u32 from, __u32 to)
{
	const struct v4_page *page = NULL;
	const struct v4_range *range;
	__u32 class = 0, middle, number, fetched = 0;

	for (int step = 0; step < V4_STEPS && from < to; step++) {
		middle = from + (to - from) / 2;
		number = middle >> V4_PAGE_BITS;
		if (!page || number != fetched) {
			page = bpf_map_lookup_elem(ranges, &number);
			if (!page)
				break;
			fetched = number;
		}
		range = &page->ranges[middle & ((1 << V4_PAGE_BITS) - 1)];
		if (range->start <= address) {
			class = range->class;
			from = middle + 1;
		} else {
			to = middle;
		}
	}
	return class;
}

static __always_inline int has_bits(const __u64 *words, __u32 shift, __u64 hash)
{
	__u64 bits = bloom_bits(hash);

	return (words[hash >> (shift & 63) & (BLOOM_WORDS - 1)] & bits) == bits;
}

static __always_inline int may_have(const struct bloom *few, __u32 key)
{
	__u64 hash = bloom_hash(key);

	return has_bits(few->first, few->shift, hash) && has_bits(few->second, few->shift, bloom_rehash(hash));
}

static __always_inline int has_bit(const __u64 *bits, __u32 place)
{
	return bits[place >> 6] >> (place & 63) & 1;
}

static __always_inline int passes_gate_v4(const struct v4_lists *lists, __u32 address)
{
	return may_have(&lists->few, address) || (has_bit(lists->wide, address >> 16) && has_bit(lists->nets, address >> 8));
}

static __always_inline __u32 class_of_v4(__u32 generation, __u32 address)
{
	void *inner = bpf_map_lookup_elem(&v4_lists, &generation);
	const struct v4_lists *lists;
	void *ranges;
	__u32 only = 0;

	if (!inner)
		return 0;
	lists = bpf_map_lookup_elem(inner, &only);
	if (!lists || !passes_gate_v4(lists, address))
		return 0;
	ranges = bpf_map_lookup_elem(&v4_ranges, &generation);
	if (!ranges)
		return 0;
	/* One before: that range reaches in here, if none begins at or below the address. */
	return search_v4(ranges, address, lists->index[address >> 16] - 1, lists->index[(address >> 16) + 1]);
}

static __always_inline int passes_gate_v6(const struct v6_lists *lists, __u32 first)
{
	return may_have(&lists->few, first) || has_bit(lists->wide, first >> 16);
}

static __always_inline __u32 search_v6(void *ranges, __u64 high, __u64 low, __u32 from, __u32 to)
{
	const struct v6_page *page = NULL;
	const struct v6_range *range;
	__u32 class = 0, middle, number, fetched = 0;

	for (int step = 0; step < V6_STEPS && from < to; step++) {
		middle = from + (to - from) / 2;
		number = middle >> V6_PAGE_BITS;
		if (!page || number != fetched) {
			page = bpf_map_lookup_elem(ranges, &number);
			if (!page)
				break;
			fetched = number;
		}
		range = &page->ranges[middle & ((1 << V6_PAGE_BITS) - 1)];
		if (range->high < high || (range->high == high && range->low <= low)) {
			class = range->class;
			from = middle + 1;
		} else {
			to = middle;
		}
	}
	return class;
}

static __always_inline __u32 class_of_v6(__u32 generation, __u64 high, __u64 low)
{
	void *inner = bpf_map_lookup_elem(&v6_lists, &generation);
	__u32 bits = high >> (64 - V6_INDEX_BITS);
	const struct v6_lists *lists;
	void *ranges;
	__u32 only = 0;

	if (!inner)
		return 0;
	lists = bpf_map_lookup_elem(inner, &only);
	if (!lists || !passes_gate_v6(lists, high >> 32))
		return 0;
	ranges = bpf_map_lookup_elem(&v6_ranges, &generation);
	if (!ranges)
		return 0;
	return search_v6(ranges, high, low, lists->index[bits] - 1, lists->index[bits + 1]);
}

/* The lists that the source is in, a bit each. */
static __always_inline __u64 lists_of(const struct packet *packet, const struct guard *guard)
{
	const __be64 *from = (const __be64 *)packet->from;
	__u32 class;

	if (packet->version == 4)
		class = class_of_v4(guard->generation, bpf_ntohl(((const __be32 *)packet->from)[3]));
	else
		class = class_of_v6(guard->generation, bpf_be64_to_cpu(from[0]), bpf_be64_to_cpu(from[1]));
	return class ? guard->policy->classes[class & (CLASSES_MAX - 1)] : 0;
}
