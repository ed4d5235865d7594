"""Look into a worker's arena from another process, without disturbing it and without trusting it.

What is looked at is copied first (pread), so that a worker that goes on, ends, or shrinks its memory cannot make us
read what is not there; rows may be torn, each field is still in its range. Offsets and indices are checked.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os

from underpass.ip.network cimport Network
from underpass.stack.arena cimport ARENA_MAGIC, ARENA_VERSION, ArenaHeader
from underpass.tcp.congestion.control cimport congestion_control
from underpass.tcp.counters cimport counters_by_name
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.rate_sample cimport RateStamp
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ORPHAN, MAX_LISTENERS, DemuxSlot, Listener, Tcb, TcbCold, TcpState, TimerNode, TimeWait,
)
from underpass.tcp.wheel cimport Wheel
from underpass.wire.address cimport address_is_v4, address_to_text
from underpass.wire.reason import reason_names

cdef enum:
    PAGE = 4096
    BATCH = 256                     # connections copied at a time
    LAST_STATE = 10                 # TIME_WAIT

STATES = ("CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
          "CLOSING", "LAST-ACK", "TIME-WAIT")


cdef list layout(const ArenaHeader *header):
    """Where this build places the pools of such an arena, and its size: the check that the structs are the same."""
    cdef uint64_t end = PAGE
    cdef list offsets = []
    cdef uint64_t connections = header.connections
    for octets in (sizeof(TcpState), sizeof(Network), sizeof(Wheel), connections * sizeof(Tcb),
                   connections * sizeof(TcbCold), connections * sizeof(TcbRare), connections * sizeof(TimerNode),
                   <uint64_t>header.demux_slots * sizeof(DemuxSlot), <uint64_t>header.time_waits * sizeof(TimeWait),
                   connections * sizeof(Rate), header.frames * sizeof(RateStamp)):
        offsets.append(end)
        end = (end + <uint64_t>octets + PAGE - 1) // PAGE * PAGE
    return [*offsets, end]


cdef class ArenaReader:
    """One worker's arena behind a descriptor of its memfd, which stays the caller's.

    Raises ValueError where it is no arena of this version of Underpass.
    """
    cdef readonly int fd
    cdef ArenaHeader header

    def __cinit__(self, int fd):
        self.fd = fd
        self._read_header()
        if self.header.magic != ARENA_MAGIC:
            raise ValueError("this is no arena of Underpass")
        h = &self.header
        found = [h.tcp_state, h.network, h.wheel, h.tcbs, h.colds, h.rares, h.timers, h.demux, h.time_wait_pool,
                 h.rates, h.stamps, h.bytes]
        if h.version != ARENA_VERSION or found != layout(h):
            raise ValueError("this arena belongs to another version of Underpass")

    cdef bytes _read(self, uint64_t offset, uint64_t octets):
        """Exactly so many octets. Raises ValueError where the arena ends before."""
        cdef bytes data = os.pread(self.fd, octets, offset)
        if <uint64_t>len(data) != octets:
            raise ValueError("this arena is cut off: its worker ended, or it is no arena of Underpass")
        return data

    cdef int _read_header(self) except -1:
        cdef bytes data = self._read(0, sizeof(ArenaHeader))
        memcpy(&self.header, <const char *>data, sizeof(ArenaHeader))
        return 0

    cdef int _read_state(self, TcpState *state) except -1:
        cdef bytes data = self._read(self.header.tcp_state, sizeof(TcpState))
        memcpy(state, <const char *>data, sizeof(TcpState))
        return 0

    def facts(self):
        """The worker's pid, interface and sizes, and how often its loop went round and slept."""
        self._read_header()
        name = (<const char *>self.header.interface)[:sizeof(self.header.interface)]
        return {
            "pid": self.header.pid, "interface": name.split(b"\0")[0].decode("ascii", "replace"),
            "connections": self.header.connections, "time_waits": self.header.time_waits,
            "turns": self.header.turns, "sleeps": self.header.sleeps, "now_ns": self.header.now_ns,
        }

    def stats(self):
        """Counters by layer: "refused" (packets, by reason), "tcp", "loop"."""
        cdef TcpState state
        self._read_header()
        self._read_state(&state)
        refused = dict(zip(reason_names(), <list>state.counters.refused, strict=False))
        del refused["accepted"]
        return {
            "refused": refused,
            "tcp": counters_by_name(&state.counters) | {
                "connections": state.tcb_used, "half_open": state.half_open, "time_waits": state.time_wait_used},
            "loop": {"turns": self.header.turns, "sleeps": self.header.sleeps},
        }

    def rows(self, bint time_waits=True):
        """Listeners, connections and TIME_WAIT entries, in the manner of ss."""
        cdef TcpState state
        self._read_header()
        self._read_state(&state)
        rows = listener_rows(&state) + self._connection_rows(min(state.tcb_fresh, self.header.connections))
        return rows + self._time_wait_rows(&state) if time_waits else rows

    cdef list _connection_rows(self, uint32_t count):
        cdef uint32_t first, i, batch
        cdef bytes hot, cold
        cdef const Tcb *tcbs
        cdef const TcbCold *colds
        rows = []
        for first in range(0, count, BATCH):
            batch = min(count - first, <uint32_t>BATCH)
            hot = self._read(self.header.tcbs + first * sizeof(Tcb), batch * sizeof(Tcb))
            cold = self._read(self.header.colds + first * sizeof(TcbCold), batch * sizeof(TcbCold))
            tcbs, colds = <const Tcb *><const char *>hot, <const TcbCold *><const char *>cold
            for i in range(batch):
                if CLOSED < tcbs[i].state <= LAST_STATE:
                    rows.append(connection_row(&tcbs[i], &colds[i], self.header.now_ns))
        return rows

    cdef list _time_wait_rows(self, const TcpState *state):
        """Along the queue, which may change meanwhile: no further than there can be entries."""
        cdef uint32_t entry = state.time_wait_head
        cdef uint32_t left = min(state.time_wait_used, self.header.time_waits)
        cdef TimeWait wait
        cdef bytes data
        rows = []
        while left and entry < self.header.time_waits:
            data = self._read(self.header.time_wait_pool + entry * sizeof(TimeWait), sizeof(TimeWait))
            memcpy(&wait, <const char *>data, sizeof(TimeWait))
            rows.append({"state": "TIME-WAIT", "local": address_to_text(&wait.local), "local_port": wait.local_port,
                         "remote": address_to_text(&wait.remote), "remote_port": wait.remote_port,
                         "expires_ms": ms_between(self.header.now_ns, wait.expires_ns)})
            entry = wait.next
            left -= 1
        return rows


cdef uint64_t ms_between(uint64_t earlier_ns, uint64_t later_ns) noexcept:
    return (later_ns - earlier_ns) // 1000000 if later_ns > earlier_ns else 0


cdef list listener_rows(const TcpState *state):
    cdef const Listener *listener
    cdef uint32_t i
    rows = []
    for i in range(MAX_LISTENERS):
        listener = &state.listeners[i]
        if listener.used:
            rows.append({"state": "LISTEN", "local": address_to_text(&listener.address),
                         "local_port": listener.port, "family": 4 if address_is_v4(&listener.address) else 6,
                         "half_open": listener.half_open, "backlog": listener.backlog})
    return rows


cdef dict connection_row(const Tcb *tcb, const TcbCold *cold, uint64_t now_ns):
    """The same names as in Stack.connections()."""
    cdef uint32_t flight = tcb.snd_nxt - tcb.snd_una
    cdef uint32_t queued = tcb.snd_end - tcb.snd_una
    cdef uint8_t state = tcb.state
    return {
        "state": STATES[state], "local": address_to_text(&tcb.local), "local_port": tcb.local_port,
        "remote": address_to_text(&tcb.remote), "remote_port": tcb.remote_port,
        "unread_bytes": tcb.rcv_bytes, "out_of_order_bytes": tcb.ooo_bytes,
        "unsent_bytes": queued - flight if queued > flight else 0, "flight_bytes": flight,
        "rtt_us": tcb.srtt_us >> 3, "rttvar_us": tcb.rttvar_us >> 2, "rtt_min_us": cold.rtt_min_us,
        "rto_us": cold.rto_us, "mss": tcb.mss, "cwnd_bytes": tcb.cwnd, "ssthresh_bytes": tcb.ssthresh,
        "snd_wnd_bytes": tcb.snd_wnd, "rcv_wnd_bytes": tcb.rcv_adv - tcb.rcv_nxt,
        "congestion": congestion_control(tcb.congestion).name.decode(),
        "bytes_sent": cold.bytes_sent, "bytes_acked": cold.bytes_acked, "bytes_received": cold.bytes_received,
        "segments_sent": cold.segments_sent, "segments_received": cold.segments_received,
        "retransmits": cold.retransmits, "timeouts": cold.timeouts,
        "age_ms": ms_between(cold.opened_ns, now_ns), "silent_ms": ms_between(cold.heard_ns, now_ns),
        "orphan": int((tcb.flags & CONN_ORPHAN) != 0),
    }
