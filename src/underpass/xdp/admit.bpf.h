/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Admission: which segments for a claimed port the engine gets to see; under the highest overload, which for other ports, too.
 *
 *     SYN -- room enough? ---> the engine        other -- known flow? ----------> the engine
 *        |-- under pressure -> SYN-ACK, XDP_TX        |-- a cookie comes back --> the engine, which checks it again
 *        \-- overloaded -----> DROP                   \-- pressure, overload ---> DROP
 */
#pragma once

#include "begin.bpf.h"
#include "cookie.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pressure);
} pressures SEC(".maps");

static __always_inline struct pressure *current_pressure(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&pressures, &only);
}

/* Count a SYN, or a stranger that is dropped, in its window of time, and say whether it, or the half-open connections, are too many. */
static __always_inline void feel_pressure(struct pressure *pressure, const struct admit_config *how, __u32 half_open,
					  __u64 now)
{
	__u64 window = now >> PRESSURE_SHIFT << 32, until = pressure->until_ns;
	__u64 before = __sync_fetch_and_add(&pressure->syns, 1);
	__u32 syns = (__u32)before + 1;
	int on = until > now;

	if ((before & ~0xffffffffULL) != window) {
		__sync_val_compare_and_swap(&pressure->syns, before + 1, window | 1);
		syns = 1;
	}
	if (syns < (on ? how->syns_off : how->syns_on) && half_open < (on ? how->half_open_off : how->half_open_on))
		return;
	if (!on)
		__sync_fetch_and_add(&pressure->began, 1);
	if (until < now + how->hold_ns - (1ULL << PRESSURE_SHIFT))
		pressure->until_ns = now + how->hold_ns;
}

static __always_inline int cookies_are_on(const struct admit_config *how, const struct pressure *pressure, __u32 level,
					  __u64 now)
{
	if (!has(FEATURE_COOKIES) || how->mode == COOKIES_OFF)
		return 0;
	return how->mode == COOKIES_ALWAYS || level >= LEVEL_COOKIES || pressure->until_ns > now;
}

static __always_inline __u32 level_of(const struct admission *worker, __u64 now)
{
	return has(FEATURE_FLOWS) && worker->until_ns > now ? worker->level : LEVEL_ALL;
}

static __noinline int admit_syn(struct xdp_md *ctx, struct packet *packet, const struct admit_config *how,
				const struct places *at)
{
	const struct admission *worker = at->worker;
	struct pressure *pressure = at->pressure;
	__u64 now = clock_of_tick(how, packet);
	__u32 level = level_of(worker, now);
	int verdict;

	if (has(FEATURE_COOKIES) && how->mode == COOKIES_AUTO)
		feel_pressure(pressure, how, worker->half_open, now);
	if (level >= LEVEL_NO_SYNS)
		return drop_packet(packet, COUNT_LEVEL_SYN);
	if (!cookies_are_on(how, pressure, level, now))
		return GO_ON;
	if (!stranger_key(how, packet))
		return REFUSED(COUNT_KNOWN);            /* one in TIME-WAIT, or half-open since before: the engine's */
	verdict = has(FEATURE_CONNECTIONS) ? limit_begins(packet, 0) : GO_ON;
	if (verdict)
		return verdict;
	if (now - pressure->cookie_ns > 1ULL << PRESSURE_SHIFT)
		pressure->cookie_ns = now;
	return answer_syn(ctx, packet, how, at, now);
}

static __noinline int admit_other(struct xdp_md *ctx, struct packet *packet, const struct admit_config *how,
				  const struct places *at)
{
	struct pressure *pressure = at->pressure;
	__u64 key = stranger_key(how, packet), now, until;
	__u32 level;
	int on, verdict;

	if (!key || is_fresh_key(key))
		return REFUSED(COUNT_KNOWN);
	now = clock_of_tick(how, packet);
	level = level_of(at->worker, now);
	on = cookies_are_on(how, pressure, level, now);
	if (level == LEVEL_KNOWN)
		return drop_packet(packet, COUNT_LEVEL_STRANGER);
	if (!on) {
		until = pressure->until_ns;
		if (until && until <= now)
			__sync_val_compare_and_swap(&pressure->until_ns, until, 0);
		return GO_ON;
	}
	if ((packet->tcp_flags & (TCP_SYN | TCP_RST | TCP_ACK)) == TCP_ACK && brings_cookie(ctx, packet, how, at)) {
		verdict = has(FEATURE_CONNECTIONS) ? limit_begins(packet, 1) : GO_ON;
		if (verdict)
			return verdict;
		fresh_add(key);
		return REFUSED(COUNT_COOKIE);
	}
	if (how->mode == COOKIES_AUTO)
		feel_pressure(pressure, how, 0, now);
	return drop_packet(packet, COUNT_STRANGER);
}

/*
 * For segments to a claimed port. A verdict, GO_ON, or REFUSED(the counter of what is to be redirected). Where there is
 * neither pressure nor overload, all but SYNs cost three look-ups of an array. A global function: the verifier looks at it
 * once, not for every way through the parsers; it takes pointers into the packet as offsets.
 */
__noinline int admit_segment(struct xdp_md *ctx, struct packet *packet, __u64 ip_at, __u64 tcp_at)
{
	const struct admit_config *how;
	struct places at = { .ip = ip_at, .tcp = tcp_at };

	if (!has(FEATURE_COOKIES | FEATURE_FLOWS))
		return GO_ON;                           /* before 6.8 the verifier looks at what nobody calls, too */
	how = admit_current();
	at.worker = admission_of(ctx);
	at.pressure = current_pressure();
	if (!packet || !how || !at.worker || !at.pressure)
		return GO_ON;
	at.partial_checksums = how->partial_checksums;
	if ((packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN)
		return admit_syn(ctx, packet, how, &at);
	if (!(has(FEATURE_FLOWS) && at.worker->level) &&
	    !(has(FEATURE_COOKIES) && (how->mode == COOKIES_ALWAYS || at.pressure->until_ns)))
		return GO_ON;
	return admit_other(ctx, packet, how, &at);
}

/* Whether the queue's worker takes known flows alone; admit_own asks the clock, too. */
static __always_inline int may_refuse_own(struct xdp_md *ctx)
{
	const struct admission *worker;

	if (!has(FEATURE_FLOWS))
		return 0;
	worker = admission_of(ctx);
	return worker && worker->level == LEVEL_KNOWN;
}

/*
 * For segments to ports of flows that the stack opens. It has them in the table before their SYN leaves: whatever else comes
 * there is a stranger's. A verdict, or GO_ON. A global function, as above.
 */
__noinline int admit_own(struct xdp_md *ctx, struct packet *packet)
{
	const struct admit_config *how;
	const struct admission *worker;

	if (!has(FEATURE_FLOWS))
		return GO_ON;
	how = admit_current();
	worker = admission_of(ctx);
	if (!packet || !how || !worker || level_of(worker, clock_of_tick(how, packet)) != LEVEL_KNOWN)
		return GO_ON;
	return stranger_key(how, packet) ? drop_packet(packet, COUNT_LEVEL_STRANGER) : GO_ON;
}
