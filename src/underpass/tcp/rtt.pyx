"""The retransmission timeout (RFC 6298): a smoothed round-trip time and four times its variation."""
from libc.stdint cimport int32_t, uint32_t

from underpass.tcp.tcb cimport Tcb, TcbCold


cdef void rtt_init(Tcb *tcb, TcbCold *cold) noexcept nogil:
    tcb.srtt_us = 0
    tcb.rttvar_us = 0
    cold.rtt_min_us = 0
    cold.rto_us = RTO_INITIAL_US
    cold.backoff = 0


cdef void rtt_sample(Tcb *tcb, TcbCold *cold, uint32_t sample_us, uint32_t rto_min_us) noexcept nogil:
    cdef uint32_t sample = min(max(sample_us, <uint32_t>1), <uint32_t>RTO_MAX_US)
    cdef int32_t error
    if tcb.srtt_us == 0:                                # RFC 6298 2.2
        tcb.srtt_us = sample << 3
        tcb.rttvar_us = sample << 1
    else:                                               # 2.3: RTTVAR first, with the old SRTT
        error = <int32_t>sample - <int32_t>(tcb.srtt_us >> 3)
        tcb.rttvar_us += <uint32_t>(error if error >= 0 else -error) - (tcb.rttvar_us >> 2)
        tcb.srtt_us += <uint32_t>error
    if cold.rtt_min_us == 0 or sample < cold.rtt_min_us:
        cold.rtt_min_us = sample
    cold.rto_us = (tcb.srtt_us >> 3) + max(<uint32_t>RTT_GRANULARITY_US, tcb.rttvar_us)
    cold.rto_us = min(max(cold.rto_us, rto_min_us), <uint32_t>RTO_MAX_US)
    cold.backoff = 0


cdef void rtt_syn_lost(const Tcb *tcb, TcbCold *cold) noexcept nogil:
    if tcb.srtt_us == 0:
        cold.rto_us = max(cold.rto_us, <uint32_t>RTO_AFTER_SYN_LOSS_US)
