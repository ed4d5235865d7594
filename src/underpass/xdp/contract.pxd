"""The structs and constants of contract.h, which the XDP program and user space share."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "contract.h" nogil:
    ctypedef uint64_t u64 "__u64"       # to C another type than uint64_t: pointers to these fields are to this one

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

    struct admit_config:
        uint64_t[2] cookie_key
        uint64_t[2] secret
        uint64_t[2] flow_key
        uint64_t clock_offset_ns
        uint64_t hold_ns
        uint32_t mode
        uint32_t bucket_mask
        uint32_t syns_on
        uint32_t syns_off
        uint32_t half_open_on
        uint32_t half_open_off
        uint32_t sources_first
        uint32_t sources_count
        uint16_t mss_v4             # host order
        uint16_t mss_v6
        uint16_t window
        uint8_t window_scale
        uint8_t ecn
        uint8_t partial_checksums

    struct flow_bucket:
        uint64_t[8] slots

    uint64_t SOURCE_KIND(uint8_t v4, uint8_t v6)

    struct admission:
        uint64_t until_ns
        uint32_t level
        uint32_t half_open

    struct pressure:
        uint64_t syns
        uint64_t until_ns
        uint64_t cookie_ns
        uint64_t began

    enum:
        COOKIES_OFF
        COOKIES_AUTO
        COOKIES_ALWAYS
        LEVEL_ALL
        LEVEL_COOKIES
        LEVEL_NO_SYNS
        LEVEL_KNOWN
        FLOW_SLOTS
        SOURCE_KINDS
        PRESSURE_SHIFT

    enum:
        FEATURE_FILTERS
        FEATURE_RATES
        FEATURE_DETECTION
        FEATURE_COOKIES
        FEATURE_FLOWS
        FEATURE_SAMPLES
        FEATURE_CONNECTIONS
        FEATURE_LISTS

    enum:
        ADDRESS_LOCAL
        ADDRESS_CLAIMED
        COUNTERS_MAX
        QUEUES_MAX
        CLAIMS_MAX
        ADDRESSES_MAX

    const char *const *counter_texts

    # the shield

    enum:
        SCOPES_MAX
        SCOPE_RULES_MAX
        RULES_MAX
        LISTS_MAX
        CLASSES_MAX
        SERVICES_MAX
        BLOCKS_MAX
        BLOCK_LENGTHS_MAX
        POLICY_TEXT_MAX
        LIST_BOGONS
        CHECK_ACTIVE
        CHECK_DRY_RUN
        CHECK_FLAGS
        CHECK_LENGTHS
        CHECK_CHECKSUMS
        CHECK_MARTIANS
        CHECK_BOGONS
        CHECK_LATER_FRAGMENTS
        CHECK_FRAGMENTS
        CHECK_VLANS
        CHECK_PROTOCOLS
        CHECK_UDP_REPLIES
        CHECK_TCP_PORTS
        CHECK_DEFAULT_DROP
        ORDER_ALLOW
        ORDER_DENY
        ORDER_RULES
        ACTION_PASS
        ACTION_DROP
        ACTION_COUNT
        ASKS_VERSION
        ASKS_PROTOCOL
        ASKS_FROM
        ASKS_TO
        ASKS_LISTS
        ASKS_FROM_PORT
        ASKS_TO_PORT
        ASKS_FLAGS
        ASKS_VLAN
        PORT_UDP_OPEN
        PORT_TCP_OPEN
        PORT_UDP_CLOSED
        PORT_TCP_CLOSED
        PORT_BY_ADDRESS
        BLOCK_BY_HAND
        BLOCK_HEAVY
        ALLOW_BY_HAND
        REASONS_MAX
        TALLY_RULES
        TALLY_LISTS
        TALLY_DROPPED
        TALLY_WOULD_DROP
        TALLIES_MAX
        CONTRACT_VERSION
        BLOOM_WORDS_BITS
        BLOOM_KEYS_OF_WORD
        V4_INDEX_BITS
        V6_INDEX_BITS
        V4_PAGE_BITS
        V6_PAGE_BITS
        SOURCE_WAYS

        RATED_PACKETS
        RATED_SYNS
        RATED_OCTETS
        HEAVY_MAX
        WINDOW_BITS

    struct rate:
        uint64_t[3] step
        uint64_t burst
        uint8_t of_service
        uint8_t v4_length
        uint8_t v6_length

    struct begin_rate:
        uint64_t step
        uint64_t burst
        uint32_t most
        uint8_t of_service
        uint8_t v4_length
        uint8_t v6_length

    struct detection:
        uint64_t packets
        uint64_t block_ns
        uint8_t v4_length
        uint8_t v6_length
        uint8_t dry_run

    struct heavy:
        uint32_t window
        uint32_t packets
        uint64_t total
        uint64_t first_ns
        uint16_t port
        uint8_t protocol
        uint8_t flags

    struct detector:
        int64_t room
        uint64_t blocked
        uint64_t would_block
        uint64_t refused

    struct scope:
        uint64_t allow
        uint64_t deny
        uint64_t[4] protocols
        uint64_t[64] vlans
        uint32_t checks
        uint16_t rule_first
        uint16_t rule_count
        uint16_t chosen_first
        uint16_t chosen_last
        uint8_t[4] order
        uint32_t rate_count
        rate[4] rates
        uint64_t begin_count
        begin_rate[4] begins

    struct rule:
        uint64_t[2] source "from"           # in the order of the wire, as the masks
        uint64_t[2] source_mask "from_mask"
        uint64_t[2] to
        uint64_t[2] to_mask
        uint64_t lists
        uint32_t asks
        uint16_t[2] from_port
        uint16_t[2] to_port
        uint16_t vlan
        uint16_t number
        uint8_t version
        uint8_t protocol
        uint8_t flags
        uint8_t flags_mask
        uint8_t action

    struct port:
        uint8_t scope
        uint8_t flags

    struct policy:
        uint64_t[2] seeds
        detection detection
        scope[16] scopes
        rule[256] rules
        uint64_t[4096] classes
        port[65536] ports

    struct shield_state:
        uint32_t active
        uint32_t loaded
        uint8_t[8] v4_lengths
        uint8_t[8] v6_lengths
        uint32_t has_blocks

    struct bloom:
        uint32_t shift
        uint64_t[131072] first
        uint64_t[131072] second

    uint64_t bloom_hash(uint32_t key) noexcept nogil
    uint64_t bloom_rehash(uint64_t hash) noexcept nogil
    uint64_t bloom_bits(uint64_t hash) noexcept nogil

    struct v4_lists:
        bloom few
        uint64_t[1024] wide
        uint64_t[262144] nets
        uint32_t[65538] index

    struct v4_range:
        uint32_t start
        uint32_t class_number "class"

    struct v4_page:
        v4_range[512] ranges

    struct v6_lists:
        bloom few
        uint64_t[1024] wide
        uint32_t[262146] index

    struct v6_range:
        uint64_t high
        uint64_t low
        uint32_t class_number "class"
        uint32_t zero

    struct v6_page:
        v6_range[128] ranges

    struct built_in:
        uint32_t features
        uint32_t source_mask
        uint32_t version

    struct block_key:
        uint8_t[16] address
        uint8_t length

    struct block:
        uint64_t until_ns
        uint64_t since_ns
        uint64_t packets
        uint32_t kind
