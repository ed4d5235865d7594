"""The demultiplexer and the TIME_WAIT entries in it, in Python objects.

A key is (local address, local port, remote address, remote port), addresses as 4 or 16 octets.
"""
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t

from underpass.tcp.demux cimport (
    DEMUX_NONE, TIME_WAIT_TAG, demux_find, demux_hash, demux_insert, demux_prefetch, demux_remove)
from underpass.tcp.tcb cimport CONN_TIMESTAMPS, Tcb
from underpass.tcp.time_wait cimport (
    TIME_WAIT_ACK, TIME_WAIT_DROP, TIME_WAIT_REOPEN, time_wait_enter, time_wait_expire, time_wait_next_ns,
    time_wait_receive, time_wait_reopen)
from underpass.testing.probe_context cimport TcpContext, address_from, segment_from
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment

VERDICTS = {TIME_WAIT_DROP: "drop", TIME_WAIT_ACK: "ack", TIME_WAIT_REOPEN: "reopen"}


cdef class DemuxProbe(TcpContext):
    """A table over `connections` connections and `time_waits` entries."""

    def insert(self, uint32_t conn, key, hash=None):
        """Enter a connection; a given hash stands for the one of its key, to make keys collide."""
        cdef Tcb *tcb = &self.tcp.tcbs[conn]
        self.set_key(conn, key)
        if hash is not None:
            tcb.hash = hash
        demux_insert(&self.tcp, tcb.hash, 1 + conn)

    def remove(self, uint32_t conn):
        """Take a connection out; nothing happens where it is not in."""
        demux_remove(&self.tcp, self.tcp.tcbs[conn].hash, 1 + conn)

    def find(self, key, hash=None):
        """("connection", index), ("time wait", entry) or None."""
        cdef Address local, remote
        cdef uint32_t value, hashed
        address_from(key[0], &local)
        address_from(key[2], &remote)
        hashed = demux_hash(&self.tcp, &local, key[1], &remote, key[3]) if hash is None else hash
        demux_prefetch(&self.tcp, hashed)
        value = demux_find(&self.tcp, hashed, &local, key[1], &remote, key[3])
        if value == DEMUX_NONE:
            return None
        if value & TIME_WAIT_TAG:
            return "time wait", (value & ~<uint32_t>TIME_WAIT_TAG) - 1
        return "connection", value - 1

    def hash(self, key):
        """The hash of a key under this table's secret."""
        cdef Address local, remote
        address_from(key[0], &local)
        address_from(key[2], &remote)
        return demux_hash(&self.tcp, &local, key[1], &remote, key[3])

    @property
    def used(self):
        """Slots that are not empty."""
        return self.tcp.state.demux_used

    def time_wait(self, uint32_t conn, uint32_t snd_nxt=0, uint32_t rcv_nxt=0, uint32_t rcv_wnd=65535,
                  ts_recent=None):
        """Move a connection to TIME_WAIT; ts_recent None: it had no timestamps."""
        cdef Tcb *tcb = &self.tcp.tcbs[conn]
        tcb.snd_nxt = snd_nxt
        tcb.rcv_nxt = rcv_nxt
        tcb.rcv_adv = rcv_nxt + rcv_wnd
        tcb.flags = 0 if ts_recent is None else CONN_TIMESTAMPS
        tcb.ts_recent = ts_recent or 0
        time_wait_enter(&self.tcp, conn)

    def receive(self, uint32_t entry, **fields):
        """What becomes of a segment for an entry: "drop", "ack" or "reopen"."""
        cdef Segment seg
        segment_from(fields, &seg)
        return VERDICTS[time_wait_receive(&self.tcp, entry, &seg)]

    def reopen(self, uint32_t entry):
        """Free the entry for a new connection; returns the old one's SND.NXT."""
        return time_wait_reopen(&self.tcp, entry)

    def expire(self, uint64_t now_ns):
        """Free what has expired by now."""
        self.tcp.now_ns = now_ns
        time_wait_expire(&self.tcp)

    @property
    def waiting(self):
        """Entries in TIME_WAIT."""
        return self.tcp.state.time_wait_used

    @property
    def next_ns(self):
        """When the next entry expires, or None."""
        cdef uint64_t at = time_wait_next_ns(&self.tcp)
        return None if at == UINT64_MAX else at
