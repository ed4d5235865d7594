/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What a source, or all of them together, send too much of. For each thing that is counted the time is kept at which the
 * sender would be even; it may be ahead of the clock by its burst (ITU-T I.371: the virtual scheduling algorithm). Times wrap,
 * as the host's clock does in these units after 834 days: what is compared is how far ahead one is.
 *
 * State is shared by all CPUs and written without a lock: packets that two of them take in at the same moment may both count
 * as one.
 */
#pragma once

#include "blocks.bpf.h"
#include "flows.bpf.h"
#include "form.bpf.h"
#include "policy.bpf.h"
#include "scratch.bpf.h"

#define SOURCE_SETS_DEFAULT 16384
#define SERVICE_STATES (GENERATIONS * SCOPES_MAX * RATES_MAX)
#define LEAD_BITS 56                            /* three days: no burst is that long */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SOURCE_SETS_DEFAULT);       /* a power of two */
	__type(key, __u32);
	__type(value, struct source_set);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * SERVICE_STATES);        /* of rates of packets, and of connections (begin.bpf.h) */
	__type(key, __u32);
	__type(value, struct rate_state);
} service_rates SEC(".maps");

static __always_inline int is_syn(const struct packet *packet)
{
	return packet->tcp_begins && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* How far this packet moves a sender's time, for each thing that is counted. */
static __always_inline __u64 cost_of(const struct packet *packet, const struct rate *rate, int what)
{
	__u64 units = what == RATED_OCTETS ? packet->octets : what == RATED_SYNS ? is_syn(packet) : 1;

	return units * rate->step[what] >> 16;
}

/*
 * How far ahead of the clock; further than anybody can be is a time that has passed, and 0 the state of who never sent.
 * Without a branch, as connections_in in begin.bpf.h.
 */
static __always_inline __u64 lead_of(__u64 even, __u64 now)
{
	__u64 lead = even - now, is_ahead = ((lead >> LEAD_BITS) - 1 & (even | -even)) >> 63;

	barrier_var(is_ahead);
	return lead * is_ahead;
}

/* Whether the sender is ahead too far; if not, it has moved on. `now` in units of 1/256 ns. */
static __always_inline int is_too_much(const struct packet *packet, const struct rate *rate, struct rate_state *state, __u64 now)
{
	__u64 even[RATED_MAX];

#pragma unroll
	for (int what = 0; what < RATED_MAX; what++) {
		__u64 cost = cost_of(packet, rate, what);

		even[what] = state->even[what];
		if (!cost)
			continue;
		cost += lead_of(even[what], now);
		if (cost > rate->burst)
			return 1;
		even[what] = now + cost;
	}
#pragma unroll
	for (int what = 0; what < RATED_MAX; what++)
		state->even[what] = even[what];
	return 0;
}

/* How far ahead of the clock: whoever is furthest has most to lose by being forgotten. */
static __always_inline __u64 ahead_of(const struct rate_state *state, __u64 now)
{
	__u64 most = 0;

#pragma unroll
	for (int what = 0; what < RATED_MAX; what++) {
		__u64 lead = lead_of(state->even[what], now);

		most = lead > most ? lead : most;
	}
	return most;
}

/* The state of the source with this hash; of a new one, in place of who is least ahead. */
static __always_inline struct rate_state *state_of(struct source_set *set, __u64 hash, __u64 now)
{
	struct source *least = &set->ways[0];
	__u64 least_lead = ~0ull;

#pragma unroll
	for (int i = 0; i < SOURCE_WAYS; i++)
		if (set->ways[i].hash == hash)
			return &set->ways[i].state;
#pragma unroll
	for (int i = 0; i < SOURCE_WAYS; i++) {
		__u64 lead = ahead_of(&set->ways[i].state, now);

		if (lead < least_lead) {
			least = &set->ways[i];
			least_lead = lead;
		}
	}
	least->hash = hash;
	__builtin_memset(&least->state, 0, sizeof(least->state));
	return &least->state;
}

static __always_inline int source_sends_too_much(const struct packet *packet, const struct policy *policy,
						 const struct rate *rate, __u32 number, __u64 now)
{
	struct block_key prefix = {};
	struct source_set *set;
	__u32 place;
	__u64 hash;

	prefix_of(packet, packet->version == 4 ? rate->v4_length : rate->v6_length, &prefix);
	hash = hash_of(&prefix, policy->seeds, packet->section * RATES_MAX + number) | 1;
	place = (hash >> 32) & built_in.source_mask;
	set = bpf_map_lookup_elem(&sources, &place);
	return set && is_too_much(packet, rate, state_of(set, hash, now), now);
}

/* A segment of a connection that the stack has: a flood of others does not shut it out. */
static __always_inline int is_known_flow(const struct packet *packet)
{
	const struct admit_config *how;

	if (!has(FEATURE_COOKIES | FEATURE_FLOWS) || packet->whose == KERNELS || packet->error || packet->fragment)
		return 0;
	how = admit_current();
	return how && is_known_key(how, flow_key(how, packet));
}

static __always_inline __u32 service_place(const struct packet *packet, __u32 number)
{
	return ((packet->generation & 1) * SCOPES_MAX + (packet->section & (SCOPES_MAX - 1))) * RATES_MAX + number;
}

static __always_inline int service_gets_too_much(const struct packet *packet, const struct rate *rate, __u32 number, __u64 now)
{
	__u32 place = service_place(packet, number);
	struct rate_state *state = bpf_map_lookup_elem(&service_rates, &place);

	return state && is_too_much(packet, rate, state, now) && !is_known_flow(packet);
}

/* Whether a rate counts packets like this one at all: most that only limit SYNs do not. */
static __always_inline int concerns(const struct packet *packet, const struct rate *rate)
{
	return rate->step[RATED_PACKETS] || rate->step[RATED_OCTETS] || (rate->step[RATED_SYNS] && is_syn(packet));
}

/* Behind `filter`, which notes the section. */
static __always_inline int limit(struct packet *packet)
{
	struct policy *policy;
	struct scope *scope;
	__u32 generation;
	__u64 now;

	if (!packet->guarded || packet->allowed || !packet->version)
		return GO_ON;
	generation = packet->generation & 1;
	policy = bpf_map_lookup_elem(&policies, &generation);
	if (!policy)
		return GO_ON;
	scope = &policy->scopes[packet->section & (SCOPES_MAX - 1)];
	if (!scope->rate_count)
		return GO_ON;
	now = now_of(packet) << 8;
	for (__u32 i = 0; i < RATES_MAX; i++) {
		const struct rate *rate = &scope->rates[i];

		if (i >= scope->rate_count)
			break;
		if (!concerns(packet, rate))
			continue;
		if (rate->of_service && service_gets_too_much(packet, rate, i, now))
			return refuse(packet, scope->checks, COUNT_SERVICE_RATE);
		if (!rate->of_service && source_sends_too_much(packet, policy, rate, i, now))
			return refuse(packet, scope->checks, COUNT_SOURCE_RATE);
	}
	return GO_ON;
}
