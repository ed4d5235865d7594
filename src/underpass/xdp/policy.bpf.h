/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The shield's policy that is active, and which of its sections a packet comes under. */
#pragma once

#include "count.bpf.h"
#include "cursor.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct shield_state);
} shield SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GENERATIONS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct policy);
} policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GENERATIONS);
	__type(key, __u32);
	__type(value, struct policy_text);
} policy_texts SEC(".maps");

/* Sections of services that an address tells apart; the key's last octet is the generation. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GENERATIONS * SERVICES_MAX);
	__type(key, struct claim_key);
	__type(value, __u32);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TALLIES_MAX);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* What the stages of the shield share about a packet. One look at the active generation: a packet never meets two. */
struct guard {
	struct shield_state *state;
	struct policy *policy;
	struct scope *scope;
	__u32 generation;
	__u32 scope_number;
	__u64 lists;            /* that its source is in, a bit each */
};

static __always_inline void tally(__u32 which, const struct packet *packet)
{
	struct tally *of = bpf_map_lookup_elem(&tallies, &which);

	if (of) {
		of->packets++;
		of->octets += packet->octets;
	}
}

/* Dropped and counted; in a dry run only counted, and not looked at again. */
static __always_inline int refuse(struct packet *packet, __u32 checks, __u32 reason)
{
	__u32 place = (packet->section & (SCOPES_MAX - 1)) * REASONS_MAX + (reason & (REASONS_MAX - 1));

	packet->why = reason;
	if (checks & CHECK_DRY_RUN) {
		packet->would = 1;
		tally(TALLY_WOULD_DROP + place, packet);
		packet->allowed = 1;
		return GO_ON;
	}
	tally(TALLY_DROPPED + place, packet);
	return drop(reason);
}

static __always_inline __u32 section_by_address(const struct packet *packet, __u32 generation, __u32 otherwise)
{
	struct claim_key key = packet->to;
	__u32 *found;

	key.zero = generation;
	found = bpf_map_lookup_elem(&services, &key);
	return found ? *found : otherwise;
}

static __always_inline __u32 section_of(const struct packet *packet, const struct policy *policy, __u32 generation)
{
	const struct port *port;

	if (packet->whose == KERNELS)
		return SCOPE_HOST;
	if (packet->whose == OWN_FLOW)
		return SCOPE_SERVICES;
	port = &policy->ports[bpf_ntohs(packet->to.port)];
	if (port->flags & PORT_BY_ADDRESS)
		return section_by_address(packet, generation, port->scope);
	return port->scope;
}

/* Whether there is anything to guard the packet by, with the guard filled in. */
static __always_inline int guard_of(struct packet *packet, struct guard *guard)
{
	__u32 only = 0;

	guard->state = bpf_map_lookup_elem(&shield, &only);
	if (!guard->state || !guard->state->loaded)
		return 0;
	guard->generation = guard->state->active & 1;
	guard->policy = bpf_map_lookup_elem(&policies, &guard->generation);
	if (!guard->policy)
		return 0;
	packet->governed = 1;
	packet->generation = guard->generation;
	guard->scope_number = section_of(packet, guard->policy, guard->generation) & (SCOPES_MAX - 1);
	guard->scope = &guard->policy->scopes[guard->scope_number];
	return guard->scope->checks & CHECK_ACTIVE;
}
