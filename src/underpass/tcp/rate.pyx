"""Delivery rate samples."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from underpass.link.frames cimport FRAME_EVER_RETRANSMITTED, NO_FRAME, Frame
from underpass.tcp.congestion.control cimport Congestion, congestion_control
from underpass.tcp.rack cimport rack_sent_after
from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.scoreboard cimport scoreboard_pipe
from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.seq cimport seq_t

cdef enum:
    NS_PER_S = 1000000000
    NS_PER_US = 1000


cdef inline RateStamp *stamp_of(Tcp *tcp, uint32_t frame) noexcept nogil:
    return <RateStamp *>tcp.stamps + frame


cdef inline uint32_t in_flight(Tcp *tcp, uint32_t conn) noexcept nogil:
    return scoreboard_pipe(&tcp.tcbs[conn], &tcp.colds[conn])


# ---------------------------------------------------------------------------------------------- sending

cdef void rate_start(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef Rate *rate = rate_of(tcp, conn)
    cdef uint32_t frame = tcb.snd_head
    memset(rate, 0, sizeof(Rate))
    rate.first_sent_ns = rate.delivered_ns = tcp.now_ns
    rate.app_limited = 1                    # nothing was sent so far for want of anything to send
    while frame != tcb.snd_unsent and frame != NO_FRAME:
        stamp(tcp, rate, frame, in_flight(tcp, conn))
        frame = tcp.pool.frames[frame].next


cdef inline void stamp(Tcp *tcp, const Rate *rate, uint32_t frame, uint32_t inflight) noexcept nogil:
    cdef RateStamp *it = stamp_of(tcp, frame)
    it.first_sent_ns = rate.first_sent_ns
    it.delivered_ns = rate.delivered_ns
    it.delivered = rate.delivered
    it.lost = rate.lost
    it.inflight = inflight
    it.app_limited = rate.app_limited != 0


cdef void rate_sent(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil:
    cdef Rate *rate = rate_of(tcp, conn)
    cdef const Congestion *control = congestion_control(tcp.tcbs[conn].congestion)
    cdef uint32_t inflight = in_flight(tcp, conn)
    if inflight == 0:                       # a flight begins: idle time is in no sample
        rate.first_sent_ns = rate.delivered_ns = tcp.now_ns
        if control.restarted != NULL:
            control.restarted(tcp, conn)
    stamp(tcp, rate, frame, inflight + tcp.pool.frames[frame].length)


cdef void rate_split(Tcp *tcp, uint32_t frame, uint32_t rest) noexcept nogil:
    stamp_of(tcp, rest)[0] = stamp_of(tcp, frame)[0]


cdef void rate_limit(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Rate *rate = rate_of(tcp, conn)
    rate.app_limited = max(rate.delivered + in_flight(tcp, conn), <uint64_t>1)


# ---------------------------------------------------------------------------------------------- acknowledgments

cdef void rate_delivered(Tcp *tcp, uint32_t conn, const Frame *it, uint32_t octets) noexcept nogil:
    cdef Rate *rate = rate_of(tcp, conn)
    cdef RateSample *sample = &rate.sample
    cdef const RateStamp *its = stamp_of(tcp, <uint32_t>(it - tcp.pool.frames))
    cdef seq_t end = it.seq + it.length
    rate.delivered += octets
    rate.delivered_ns = tcp.now_ns
    sample.newly_acked += octets
    if sample.has_data and not rack_sent_after(it.sent_ns, end, rate.first_sent_ns, sample.end):
        return                              # the sample is that of the frame which left last (IsNewestPacket)
    sample.has_data = 1
    sample.prior_delivered = its.delivered
    sample.prior_ns = its.delivered_ns
    sample.app_limited = its.app_limited != 0
    sample.inflight = its.inflight
    sample.lost = its.lost                  # what is lost since: see measure
    sample.send_elapsed_ns = it.sent_ns - its.first_sent_ns
    sample.end = end
    sample.rtt_us = 0
    if not it.flags & FRAME_EVER_RETRANSMITTED:
        sample.rtt_us = max(<uint32_t>((tcp.now_ns - it.sent_ns) // NS_PER_US), <uint32_t>1)
    rate.first_sent_ns = it.sent_ns


cdef void rate_lost(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil:
    cdef Rate *rate = rate_of(tcp, conn)
    cdef const Congestion *control = congestion_control(tcp.tcbs[conn].congestion)
    cdef uint32_t octets = tcp.pool.frames[frame].length
    rate.lost += octets
    rate.sample.newly_lost += octets
    if control.frame_lost != NULL:
        control.frame_lost(tcp, conn, stamp_of(tcp, frame), octets)


cdef inline void measure(Rate *rate, uint32_t rtt_min_us) noexcept nogil:
    """What was delivered, in the longer of the two intervals."""
    cdef RateSample *sample = &rate.sample
    cdef uint64_t interval_ns = max(sample.send_elapsed_ns, rate.delivered_ns - sample.prior_ns)
    sample.delivered = rate.delivered - sample.prior_delivered
    sample.lost = rate.lost - sample.lost
    # Shorter than any round trip: what was sent again for nothing, and the ACK is that of the first time (4.1.3).
    if interval_ns != 0 and interval_ns >= <uint64_t>rtt_min_us * NS_PER_US:
        sample.rate = sample.delivered * NS_PER_S // interval_ns
        rate.latest = sample.rate


cdef void rate_generate(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Rate *rate = rate_of(tcp, conn)
    if rate.app_limited != 0 and rate.delivered > rate.app_limited:
        rate.app_limited = 0                # the bubble has left the pipe
    if rate.sample.has_data:
        measure(rate, tcp.colds[conn].rtt_min_us)


cdef void rate_acknowledged(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Rate *rate = rate_of(tcp, conn)
    cdef const Congestion *control = congestion_control(tcp.tcbs[conn].congestion)
    rate_generate(tcp, conn)
    if (rate.sample.has_data or rate.sample.newly_lost != 0) and control.sampled != NULL:
        control.sampled(tcp, conn, &rate.sample)
    memset(&rate.sample, 0, sizeof(RateSample))
