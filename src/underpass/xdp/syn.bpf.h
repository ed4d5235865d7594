/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What a segment says in its TCP options, and whether it arrived whole: as wire/tcp.pyx and ip/validate.pyx. */
#pragma once

#include "checksum.bpf.h"
#include "cursor.bpf.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_ECE 0x40
#define TCP_CWR 0x80

#define OPTIONS_MAX 40                  /* octets (RFC 9293 3.1) */
#define ALIGNED_TIMESTAMPS 0x0101080a   /* NOP NOP kind 8 length 10 (RFC 7323 appendix A) */
#define SCALE_MAX 14                    /* RFC 7323 2.3 */
#define SYN_OCTETS_MAX 1600             /* with its data: those of Fast Open fill a packet at most */
#define NOT_THERE (~0ULL)
#define IP_AT_MAX 31                    /* masks: octets of Ethernet with two tags, */
#define TCP_AT_MAX 0x3fff               /* and of all headers of IP */

enum offered {
	OFFERED_MSS = 1,
	OFFERED_SCALE = 2,
	OFFERED_SACK = 4,
	OFFERED_TIMESTAMPS = 8,
};

struct offer {
	__u32 ts_val;
	__u32 ts_ecr;
	__u16 mss;
	__u8 scale;
	__u8 options;                   /* enum offered */
};

static __always_inline __u32 load32(const __u8 *at)
{
	return bpf_ntohl(*(const __be32 *)at);
}

/* The content of one option that lies within the header. -1: its length is wrong for its kind, or it is not there. */
static __always_inline int read_option(const __u8 *option, const void *end, __u8 kind, __u8 octets, struct offer *offer)
{
	if (kind == 2) {
		if (octets != 4 || (void *)(option + 4) > end)
			return -1;
		offer->mss = option[2] << 8 | option[3];
		offer->options |= OFFERED_MSS;
	} else if (kind == 3) {
		if (octets != 3 || (void *)(option + 3) > end)
			return -1;
		offer->scale = option[2] < SCALE_MAX ? option[2] : SCALE_MAX;
		offer->options |= OFFERED_SCALE;
	} else if (kind == 4) {
		if (octets != 2)
			return -1;
		offer->options |= OFFERED_SACK;
	} else if (kind == 5) {
		if (octets < 10 || octets > 34 || (octets - 2) % 8)
			return -1;
	} else if (kind == 8) {
		if (octets != 10 || (void *)(option + 10) > end)
			return -1;
		offer->ts_val = load32(option + 2);
		offer->ts_ecr = load32(option + 6);
		offer->options |= OFFERED_TIMESTAMPS;
	}
	return 0;
}

/* All options (RFC 9293 3.2); 0, or -1 for a length that cannot be (MUST-7). `length`: octets of them. */
static __noinline int read_options(const __u8 *first, const void *end, __u32 length, struct offer *offer)
{
	__u32 at = 0;

	for (int i = 0; i < OPTIONS_MAX; i++) {
		const __u8 *option = first + (at & 63);
		__u8 kind, octets;

		if (at >= length)
			return 0;
		if ((void *)(option + 1) > end)
			return -1;
		kind = option[0];
		if (kind == 0)
			return 0;
		if (kind == 1) {
			at = (at + 1) & 63;
			continue;
		}
		if (at + 2 > length || (void *)(option + 2) > end)
			return -1;
		octets = option[1];
		if (octets < 2 || at + octets > length || read_option(option, end, kind, octets, offer))
			return -1;
		at = (at + octets) & 63;
	}
	return 0;
}

/* Sum of the packet's octets from `at` on, as words of memory; NOT_THERE where it is shorter. */
__noinline __u64 sum_of(struct xdp_md *ctx, __u32 at, __u32 octets)
{
	void *end = (void *)(long)ctx->data_end;
	__u32 *word = (void *)(long)ctx->data + (at & TCP_AT_MAX);
	__u64 sum = 0;

	for (int i = 0; i < SYN_OCTETS_MAX / 4 && octets >= 4; i++) {
		if ((void *)(word + 1) > end)
			return NOT_THERE;
		sum += *word++;
		octets -= 4;
		barrier_var(word);      /* else the loop ends by arithmetic on `end`, which is refused */
	}
	if (octets >= 4)
		return NOT_THERE;
	if (octets & 2) {
		if ((void *)word + 2 > end)
			return NOT_THERE;
		sum += *(__u16 *)word;
		word = (void *)word + 2;
	}
	if (octets & 1) {
		if ((void *)word + 1 > end)
			return NOT_THERE;
		sum += bpf_htons(*(__u8 *)word << 8);
	}
	return sum;
}

static __always_inline __u64 halves(__u64 word)
{
	return (word >> 32) + (word & 0xffffffff);
}

/*
 * Sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1). The two octets ff ff of an IPv4 address's prefix add nothing
 * to a sum in ones' complement.
 */
static __always_inline __u64 pseudo_sum_of(const __u64 *addresses, __u32 tcp_bytes)
{
	return halves(addresses[0]) + halves(addresses[1]) + halves(addresses[2]) + halves(addresses[3]) +
	       bpf_htons(IPPROTO_TCP) + bpf_htons(tcp_bytes);
}
