/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Damage that checksums tell (RFC 791 3.1, RFC 9293 3.1, RFC 768): of the header of IPv4, and of TCP and UDP. */
#pragma once

#include "cursor.bpf.h"

static __always_inline int is_damaged(struct xdp_md *ctx, const struct packet *packet)
{
	return 0;
}
