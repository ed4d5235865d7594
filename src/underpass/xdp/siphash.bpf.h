/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* SipHash (Aumasson and Bernstein, 2012) of whole words, as wire/siphash.pyx has it. */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct sip {
	__u64 v0, v1, v2, v3;
};

#define ROTATED(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))

static __always_inline void sip_begin(struct sip *s, const __u64 *key)
{
	s->v0 = key[0] ^ 0x736f6d6570736575ULL;
	s->v1 = key[1] ^ 0x646f72616e646f6dULL;
	s->v2 = key[0] ^ 0x6c7967656e657261ULL;
	s->v3 = key[1] ^ 0x7465646279746573ULL;
}

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = ROTATED(s->v1, 13) ^ s->v0;
	s->v3 = ROTATED(s->v3, 16) ^ s->v2;
	s->v0 = ROTATED(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = ROTATED(s->v1, 17) ^ s->v2;
	s->v3 = ROTATED(s->v3, 21) ^ s->v0;
	s->v2 = ROTATED(s->v2, 32);
}

static __always_inline void sip_word24(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

static __always_inline void sip_word13(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

/* The last word holds the length alone (section 2.2): there are only whole words. */
static __always_inline __u64 sip_end24(struct sip *s, __u64 octets)
{
	sip_word24(s, octets << 56);
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static __always_inline __u64 sip_end13(struct sip *s, __u64 octets)
{
	sip_word13(s, octets << 56);
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}
