/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Connections: who begins too many, and who has too many. It is asked once for each, of what makes the engine open it: a SYN,
 * or where that was answered by a cookie, the ACK that brings the cookie back. So invented sources use up nothing of what the
 * real ones may begin while there are cookies.
 *
 * How many there are workers say, in the map `flows` as it lies in their memory.
 */
#pragma once

#include "rates.bpf.h"

/* Of all workers, in one bucket. Without a branch: each would double the ways that the verifier goes. */
static __always_inline __u64 connections_in(__u32 number, __u64 hash)
{
	const struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &number);
	__u64 found = 0;

	if (!bucket)
		return 0;
#pragma unroll
	for (int i = 0; i < FLOW_SLOTS; i++) {
		__u64 is_its = (((bucket->slots[i] ^ hash) >> 32) - 1) >> 63;   /* 1: the slot is this source's */

		barrier_var(is_its);
		found += (bucket->slots[i] >> 8 & SOURCE_COUNT_MAX) * is_its;
	}
	return found;
}

/* Which of so many buckets, by 32 bits. */
static __always_inline __u32 bucket_of(const struct admit_config *how, __u32 bits)
{
	return how->sources_first + ((__u64)bits * how->sources_count >> 32);
}

/*
 * How many the source's prefix has, of IPv4 as long as the first number says, of IPv6 as the second. As source_hash in
 * tcp/sources.pyx. A global function, as below.
 */
__noinline __u64 connections_of(const struct packet *packet, __u32 v4_length, __u32 v6_length)
{
	const struct admit_config *how = admit_current();
	struct block_key prefix = {};
	__u32 one, other, length;
	struct sip s;
	__u64 hash;

	if (!has(FEATURE_COOKIES | FEATURE_FLOWS) || !packet || !how || !how->sources_count)
		return 0;
	length = packet->version == 4 ? v4_length : v6_length;
	prefix_of(packet, length, &prefix);
	sip_begin(&s, how->flow_key);
	sip_word13(&s, ((__u64 *)prefix.address)[0]);
	sip_word13(&s, ((__u64 *)prefix.address)[1]);
	sip_word13(&s, packet->version == 4 ? 96 + length : length);
	hash = sip_end13(&s, 24);
	one = bucket_of(how, hash);
	other = bucket_of(how, (__u32)(hash >> 32) * SOURCE_FACTOR);
	return connections_in(one, hash) + (other == one ? 0 : connections_in(other, hash));
}

/* Takes one connection out of what may be begun; whether there was none left. */
static __always_inline int is_one_too_many(const struct begin_rate *rate, struct rate_state *state, __u64 now)
{
	__u64 lead = lead_of(state->even[0], now) + (rate->step >> 16);

	if (lead > rate->burst)
		return 1;
	state->even[0] = now + lead;
	return 0;
}

static __always_inline struct rate_state *begun_by_source(const struct packet *packet, const struct policy *policy,
							  const struct begin_rate *rate, __u32 number, __u64 now)
{
	struct block_key prefix = {};
	struct source_set *set;
	__u32 place;
	__u64 hash;

	prefix_of(packet, packet->version == 4 ? rate->v4_length : rate->v6_length, &prefix);
	hash = hash_of(&prefix, policy->seeds, (SCOPES_MAX + packet->section) * RATES_MAX + number + OF_DETECTION) | 1;
	place = (hash >> 32) & built_in.source_mask;
	set = bpf_map_lookup_elem(&sources, &place);
	return set ? state_of(set, hash, now) : NULL;
}

/* Behind the states of rates of packets. */
static __always_inline struct rate_state *begun_at_service(const struct packet *packet, __u32 number)
{
	__u32 place = SERVICE_STATES + service_place(packet, number);

	return bpf_map_lookup_elem(&service_rates, &place);
}

/*
 * `begins`: the engine opens a connection by this packet; else it is a SYN that a cookie would answer. A verdict, or GO_ON.
 * A global function, as admit_segment.
 */
__noinline int limit_begins(struct packet *packet, int begins)
{
	struct rate_state *state;
	struct policy *policy;
	struct scope *scope;
	__u32 generation;
	__u64 now;

	if (!has(FEATURE_CONNECTIONS) || !packet || !packet->guarded || packet->allowed)
		return GO_ON;
	generation = packet->generation & 1;
	policy = bpf_map_lookup_elem(&policies, &generation);
	if (!policy)
		return GO_ON;
	scope = &policy->scopes[packet->section & (SCOPES_MAX - 1)];
	now = bpf_ktime_get_coarse_ns() << 8;
	for (__u32 i = 0; i < RATES_MAX; i++) {
		const struct begin_rate *rate = &scope->begins[i];

		if (i >= scope->begin_count)
			break;
		if (has(FEATURE_COOKIES | FEATURE_FLOWS) && rate->most &&
		    connections_of(packet, rate->v4_length, rate->v6_length) >= rate->most)
			return refuse(packet, scope->checks, COUNT_CONNECTIONS);
		if (!begins || !rate->step)
			continue;
		state = rate->of_service ? begun_at_service(packet, i) : begun_by_source(packet, policy, rate, i, now);
		if (state && is_one_too_many(rate, state, now))
			return refuse(packet, scope->checks, COUNT_NEW);
	}
	return GO_ON;
}
