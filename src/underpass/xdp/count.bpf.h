/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* One counter per reason and CPU. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 reason)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &reason);

	if (counter)
		(*counter)++;
}

/* What a stage returns for a packet that the next one shall see. No stage's verdict is XDP_ABORTED, which is 0, too. */
#define GO_ON 0

/* Leave the packet to the kernel, and say why. */
static __always_inline int pass(__u32 reason)
{
	count(reason);
	return XDP_PASS;
}

/* End it here, and say why. */
static __always_inline int drop(__u32 reason)
{
	count(reason);
	return XDP_DROP;
}
