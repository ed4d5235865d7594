/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Which stages are in the program: fixed before it is loaded, so that the verifier takes out what is off.
 *
 * To switch a feature while packets pass, the program is loaded once more over the same maps, and the attachment is
 * given the new one.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"

const volatile struct built_in built_in = {};

static __always_inline int has(__u32 any)
{
	return (built_in.features & any) != 0;
}
