/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The shield's filters: form, lists, blocks, rules, protocols and ports, in this order, the allow list, the deny list and the
 * rules in the section's own.
 *
 *     section -> form -> source's lists -> [allow, deny, rules] -> blocks -> protocols, ports, default -> checksum
 *                                             allowed: nothing more
 *
 * Who is on an allow list is asked for neither blocks nor checksum, nor for rates (`allowed`), whichever of the three decides
 * to let it in.
 */
#pragma once

#include "blocks.bpf.h"
#include "checksum.bpf.h"
#include "count.bpf.h"
#include "form.bpf.h"
#include "lists.bpf.h"
#include "rules.bpf.h"
#include "udp.bpf.h"

#define UNDECIDED (-1)

static __always_inline __u32 denied(const struct packet *packet, const struct guard *guard)
{
	__u64 in = guard->lists & guard->scope->deny;
	__u32 list = 0;

	/* The lowest of them; there is no instruction for it. */
	for (int shift = 32; shift; shift /= 2) {
		if (!(in << (64 - shift))) {
			in >>= shift;
			list += shift;
		}
	}
	tally(TALLY_LISTS + (list & 63), packet);
	return COUNT_DENIED;
}

/* What the section asks first, second and third: a reason to drop it, 0 to let it in, or UNDECIDED. */
static __always_inline int ordered(struct packet *packet, const struct guard *guard)
{
	const struct scope *scope = guard->scope;
	int action;

	if (!guard->lists && !scope->rule_count)
		return UNDECIDED;
	for (int i = 0; i < 3; i++) {
		__u8 asked = scope->order[i];

		if (asked == ORDER_ALLOW && packet->allowed)
			return 0;
		if (asked == ORDER_DENY && (guard->lists & scope->deny))
			return denied(packet, guard);
		if (asked == ORDER_RULES && scope->rule_count) {
			action = decide(packet, guard->generation, guard->scope_number, guard->lists);
			if (action)
				return action == ACTION_DROP ? COUNT_RULE : 0;
		}
	}
	return UNDECIDED;
}

static __always_inline int is_protocol_refused(const struct scope *scope, __u8 protocol)
{
	return scope->protocols[protocol >> 6 & 3] >> (protocol & 63) & 1;
}

static __always_inline __u32 refused_udp(struct xdp_md *ctx, const struct packet *packet, const struct scope *scope, __u8 port)
{
	if (port & PORT_UDP_CLOSED)
		return COUNT_PORT;
	if (!is_protocol_refused(scope, IPPROTO_UDP) || (packet->has_ports && (port & PORT_UDP_OPEN)))
		return 0;
	if (packet->has_ports && (scope->checks & CHECK_UDP_REPLIES) && is_udp_reply(ctx, packet, scope))
		return 0;
	return COUNT_PROTOCOL;
}

/* A segment that begins a connection of Linux's needs an open port; the others are of those that are there. */
static __always_inline __u32 refused_tcp(const struct packet *packet, const struct scope *scope, __u8 port)
{
	if (packet->whose != KERNELS)
		return 0;
	if (port & PORT_TCP_CLOSED)
		return COUNT_PORT;
	if ((scope->checks & CHECK_TCP_PORTS) && !(port & PORT_TCP_OPEN) && packet->tcp_begins &&
	    (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return COUNT_PORT;
	return 0;
}

/* By protocol and port: a reason, or 0. */
static __always_inline __u32 refused_by_port(struct xdp_md *ctx, const struct packet *packet, const struct guard *guard, __u8 port)
{
	if (packet->protocol == IPPROTO_UDP)
		return refused_udp(ctx, packet, guard->scope, port);
	if ((guard->scope->checks & CHECK_PROTOCOLS) && is_protocol_refused(guard->scope, packet->protocol) &&
	    packet->whose == KERNELS && !packet->error && !is_discovery(packet))
		return COUNT_PROTOCOL;
	return packet->protocol == IPPROTO_TCP ? refused_tcp(packet, guard->scope, port) : 0;
}

/* Of what no rule passes: open ports, connections that Linux has, and what IPv6 lives on, go on all the same. */
static __always_inline int is_default_dropped(struct xdp_md *ctx, const struct packet *packet, const struct guard *guard,
					      __u8 port)
{
	if (!(guard->scope->checks & CHECK_DEFAULT_DROP) || packet->error || is_discovery(packet))
		return 0;
	if (packet->whose != KERNELS)
		return packet->whose == CLAIMED;
	if (packet->protocol == IPPROTO_TCP)
		return !(port & PORT_TCP_OPEN) && (!packet->tcp_begins || !(packet->tcp_flags & (TCP_ACK | TCP_RST)));
	if (packet->protocol == IPPROTO_UDP && packet->has_ports)
		return !(port & PORT_UDP_OPEN) &&
		       !((guard->scope->checks & CHECK_UDP_REPLIES) && is_udp_reply(ctx, packet, guard->scope));
	return 1;
}

/* The reason to drop a packet of IP, or 0. */
static __always_inline __u32 judge(struct xdp_md *ctx, struct packet *packet, struct guard *guard)
{
	__u32 reason = misformed(packet, guard->scope);
	__u32 by_hand;
	__u8 port;
	int said;

	if (reason || !packet->version)
		return reason;
	if (has(FEATURE_LISTS)) {
		guard->lists = lists_of(packet, guard);
		packet->allowed = (guard->lists & guard->scope->allow) != 0;
	}
	if ((guard->scope->checks & (CHECK_MARTIANS | CHECK_BOGONS)) && is_bogon(packet, guard))
		return COUNT_BOGON;
	by_hand = said_of(packet, guard);
	if (by_hand == ALLOW_BY_HAND) {
		packet->allowed = 1;
		return 0;
	}
	said = ordered(packet, guard);
	if (said > 0)
		return said;
	if (by_hand && !packet->allowed)
		return COUNT_BLOCKED;
	if (said == UNDECIDED) {
		port = packet->has_ports ? guard->policy->ports[bpf_ntohs(packet->to.port)].flags : 0;
		reason = refused_by_port(ctx, packet, guard, port);
		if (reason)
			return reason;
		if (is_default_dropped(ctx, packet, guard, port))
			return COUNT_DEFAULT;
	}
	return !packet->allowed && (guard->scope->checks & CHECK_CHECKSUMS) && is_damaged(ctx, packet) ? COUNT_CHECKSUM : 0;
}

/* A verdict, or GO_ON with the section noted that the packet comes under. */
static __always_inline int filter(struct xdp_md *ctx, struct packet *packet)
{
	struct guard guard = {};
	__u32 reason;

	if (!guard_of(packet, &guard))
		return GO_ON;
	packet->guarded = 1;
	packet->section = guard.scope_number;
	reason = judge(ctx, packet, &guard);
	return reason ? refuse(packet, guard.scope->checks, reason) : GO_ON;
}
