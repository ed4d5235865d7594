/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Rules of a section, in their order: the first that passes or drops the packet decides. */
#pragma once

#include "policy.bpf.h"


static __always_inline int is_within(const __u8 *address, const __u64 *network, const __u64 *mask)
{
	const __u64 *is = (const __u64 *)address;

	return ((is[0] & mask[0]) == network[0]) && ((is[1] & mask[1]) == network[1]);
}

static __always_inline int is_between(__be16 port, const __u16 *range)
{
	__u16 is = bpf_ntohs(port);

	return is >= range[0] && is <= range[1];
}

/* Ports and flags are of what has them: a later fragment has none. */
static __always_inline int fits_transport(const struct packet *packet, const struct rule *rule)
{
	if ((rule->asks & (ASKS_FROM_PORT | ASKS_TO_PORT)) && !packet->has_ports)
		return 0;
	if ((rule->asks & ASKS_FROM_PORT) && !is_between(packet->from_port, rule->from_port))
		return 0;
	if ((rule->asks & ASKS_TO_PORT) && !is_between(packet->to.port, rule->to_port))
		return 0;
	return !(rule->asks & ASKS_FLAGS) || (packet->tcp_begins && (packet->tcp_flags & rule->flags_mask) == rule->flags);
}

static __always_inline int fits(const struct packet *packet, const struct rule *rule, __u64 lists)
{
	__u32 asks = rule->asks;

	if ((asks & ASKS_VERSION) && packet->version != rule->version)
		return 0;
	if ((asks & ASKS_PROTOCOL) && packet->protocol != rule->protocol)
		return 0;
	if ((asks & ASKS_FROM) && !is_within(packet->from, rule->from, rule->from_mask))
		return 0;
	if ((asks & ASKS_TO) && !is_within(packet->to.address, rule->to, rule->to_mask))
		return 0;
	if ((asks & ASKS_LISTS) && !(lists & rule->lists))
		return 0;
	if ((asks & ASKS_VLAN) && (packet->tags ? packet->vlan : 0) != rule->vlan)
		return 0;
	return !(asks & (ASKS_FROM_PORT | ASKS_TO_PORT | ASKS_FLAGS)) || fits_transport(packet, rule);
}

/*
 * The action of the rule that decides, or 0. A global function: the verifier walks the loop once. It
 * gets no pointers into maps, so it looks the policy up by itself.
 */
__noinline int decide(struct packet *packet, __u32 generation, __u32 section, __u64 lists)
{
	struct policy *policy = bpf_map_lookup_elem(&policies, &generation);
	struct scope *scope;
	int counted = -1;

	if (!policy || !packet)
		return 0;
	scope = &policy->scopes[section & (SCOPES_MAX - 1)];
	for (__u32 i = 0; i < SCOPE_RULES_MAX; i++) {
		const struct rule *rule = &policy->rules[(scope->rule_first + i) & (RULES_MAX - 1)];

		if (i >= scope->rule_count)
			break;
		if (!fits(packet, rule, lists))
			continue;
		if (rule->number != counted)    /* another entry of the same rule */
			tally(TALLY_RULES + (rule->number & (RULES_MAX - 1)), packet);
		counted = rule->number;
		if (rule->action != ACTION_COUNT)
			return rule->action;
	}
	return 0;
}
