/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What a source, or all of them together, send too much of. For each thing that is counted the time is kept at which the
 * sender would be even; it may be ahead of the clock by its burst (ITU-T I.371: the virtual scheduling algorithm).
 *
 * State is shared by all CPUs and written without a lock: packets that two of them take in at the same moment may both count
 * as one. Sources are forgotten in the order of their silence.
 */
#pragma once

#include "blocks.bpf.h"
#include "form.bpf.h"
#include "policy.bpf.h"

#define SOURCES_DEFAULT 65536

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SOURCES_DEFAULT);
	__type(key, struct source_key);
	__type(value, struct source_state);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GENERATIONS * SCOPES_MAX * RATES_MAX);
	__type(key, __u32);
	__type(value, struct source_state);
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

/* Whether the sender is ahead too far; if not, it has moved on. `now` in units of 1/256 ns. */
static __always_inline int is_too_much(const struct packet *packet, const struct rate *rate, struct source_state *state, __u64 now)
{
	__u64 even[RATED_MAX];

#pragma unroll
	for (int what = 0; what < RATED_MAX; what++) {
		__u64 cost = cost_of(packet, rate, what);

		even[what] = state->even[what];
		if (!cost)
			continue;
		even[what] = (even[what] > now ? even[what] : now) + cost;
		if (even[what] - now > rate->burst)
			return 1;
	}
#pragma unroll
	for (int what = 0; what < RATED_MAX; what++)
		state->even[what] = even[what];
	return 0;
}

static __always_inline int source_sends_too_much(const struct packet *packet, const struct rate *rate, __u32 number, __u64 now)
{
	struct source_key key = { .section = packet->section, .rate = number, .generation = packet->generation };
	struct source_state fresh = {};
	struct source_state *state;
	struct block_key prefix = {};

	prefix_of(packet, packet->version == 4 ? rate->v4_length : rate->v6_length, &prefix);
	__builtin_memcpy(key.address, prefix.address, sizeof(key.address));
	state = bpf_map_lookup_elem(&sources, &key);
	if (state)
		return is_too_much(packet, rate, state, now);
	if (is_too_much(packet, rate, &fresh, now))
		return 1;
	bpf_map_update_elem(&sources, &key, &fresh, BPF_ANY);
	return 0;
}

static __always_inline int service_gets_too_much(const struct packet *packet, const struct rate *rate, __u32 number, __u64 now)
{
	__u32 place = ((packet->generation & 1) * SCOPES_MAX + (packet->section & (SCOPES_MAX - 1))) * RATES_MAX + number;
	struct source_state *state = bpf_map_lookup_elem(&service_rates, &place);

	return state && is_too_much(packet, rate, state, now);
}

/* Whether a rate counts packets like this one at all: most that only limit SYNs do not. */
static __always_inline int concerns(const struct packet *packet, const struct rate *rate)
{
	return rate->step[RATED_PACKETS] || rate->step[RATED_OCTETS] || (rate->step[RATED_SYNS] && is_syn(packet));
}

/* Global: see `filter`, which comes before and notes the section. */
__noinline int limit(struct packet *packet)
{
	struct policy *policy;
	struct scope *scope;
	__u32 generation;
	__u64 now;

	if (!packet || !packet->guarded || packet->allowed || !packet->version)
		return GO_ON;
	generation = packet->generation & 1;
	policy = bpf_map_lookup_elem(&policies, &generation);
	if (!policy)
		return GO_ON;
	scope = &policy->scopes[packet->section & (SCOPES_MAX - 1)];
	if (!scope->rate_count)
		return GO_ON;
	now = (packet->now_ns ? packet->now_ns : bpf_ktime_get_coarse_ns()) << 8;
	for (__u32 i = 0; i < RATES_MAX; i++) {
		const struct rate *rate = &scope->rates[i];

		if (i >= scope->rate_count)
			break;
		if (!concerns(packet, rate))
			continue;
		if (rate->of_service && service_gets_too_much(packet, rate, i, now))
			return refuse(packet, scope->checks, COUNT_SERVICE_RATE);
		if (!rate->of_service && source_sends_too_much(packet, rate, i, now))
			return refuse(packet, scope->checks, COUNT_SOURCE_RATE);
	}
	return GO_ON;
}
