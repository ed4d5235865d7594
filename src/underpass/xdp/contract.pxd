"""The structs and constants of contract.h, which the XDP program and user space share."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from "contract.h" nogil:
    struct claim_key:
        uint8_t[16] address
        uint16_t port               # network order
        uint8_t protocol
        uint8_t zero

    struct address_key:
        uint8_t[16] address

    struct steer_config:
        uint8_t[6] mac
        uint16_t flow_first         # host order
        uint16_t flow_last
        uint16_t zero

    enum:
        FEATURE_FILTERS
        FEATURE_RATES
        FEATURE_DETECTION
        FEATURE_SAMPLES
        FEATURE_COOKIES
        FEATURE_FLOWS

    enum:
        ADDRESS_LOCAL
        ADDRESS_CLAIMED
        COUNTERS_MAX
        QUEUES_MAX
        CLAIMS_MAX
        ADDRESSES_MAX

    const char *const *counter_texts
