/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Which segments are the stack's: claimed ports, and own outgoing flows. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "contract.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CLAIMS_MAX);
	__type(key, struct claim_key);
	__type(value, __u32);
} claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, struct address_key);
	__type(value, __u32);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_config);
} config SEC(".maps");

static __always_inline const struct steer_config *current_config(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&config, &only);
}

/* The address_flags of a destination, 0 where it is not ours. */
static __always_inline __u32 flags_of_address(const struct claim_key *to)
{
	struct address_key key;
	__u32 *flags;

	__builtin_memcpy(key.address, to->address, sizeof(key.address));
	flags = bpf_map_lookup_elem(&addresses, &key);
	return flags ? *flags : 0;
}

static __always_inline int is_claimed(const struct claim_key *to)
{
	return bpf_map_lookup_elem(&claims, to) != NULL;
}

/* No kernel socket gets a port of the reserved range, so port and address are enough: no state per flow. */
static __always_inline int is_own_flow(const struct claim_key *to, const struct steer_config *is)
{
	__u16 port = bpf_ntohs(to->port);

	return port >= is->flow_first && port <= is->flow_last && (flags_of_address(to) & ADDRESS_LOCAL);
}
