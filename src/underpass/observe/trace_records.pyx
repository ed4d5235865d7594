"""What the records of a trace say (see tcp/trace.pxd), for Python."""
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from underpass.tcp.congestion.control cimport CONGESTION_CONTROLS, congestion_control
from underpass.tcp.trace cimport TRACE_RESENT, TRACE_TYPE, TraceRecord
from underpass.wire.address cimport address_to_text

from underpass.stack.inspect import STATES

cdef enum:
    UNLIMITED = 0xFFFFFFFF

# By the numbers of TraceEvent, TraceCause, TraceWhy, TracePhase, TraceTimer.
EVENTS = ("began", "changed", "fired", "resent", "ended")
CAUSES = ("turn", "segment", "retransmission", "reordering", "loss probe", "persist", "handshake", "linger")
REASONS = ("timeout", "loss probe", "RACK", "duplicate ACKs", "path MTU", "handshake")
PHASES = ("open", "recovery", "loss")
TIMERS = ("off", "retransmission", "reordering", "loss probe", "persist", "linger")


cdef object name(tuple names, number):
    """Whoever wrote it is not trusted."""
    return names[number] if number < len(names) else "?"


cdef dict row_of(const TraceRecord *record):
    cdef dict view = record.view
    del view["spare"]
    if record.view.ssthresh == <uint32_t>UNLIMITED:
        view["ssthresh"] = None             # no loss yet
    view |= {"state": name(STATES, view["state"]), "phase": name(PHASES, view["phase"]),
             "timer": name(TIMERS, view["timer"])}
    resent = record.event == TRACE_RESENT
    return {
        "at_ns": record.at_ns, "event": name(EVENTS, record.event), "cause": name(CAUSES, record.cause),
        "why": name(REASONS, record.why) if resent else None, "seq": record.seq if resent else None,
        "length": record.length if resent else None, "dropped": record.dropped,
        "local": address_to_text(&record.local), "local_port": record.local_port,
        "remote": address_to_text(&record.remote), "remote_port": record.remote_port,
        "congestion": (congestion_control(record.congestion).name.decode()
                       if record.congestion < CONGESTION_CONTROLS else "?"),
    } | view


def trace_records(bytes octets not None):
    """The records of a trace's blocks, as far as they are some."""
    cdef TraceRecord record
    rows = []
    cdef size_t number
    for number in range(<size_t>len(octets) // sizeof(TraceRecord)):
        memcpy(&record, <const char *>octets + number * sizeof(TraceRecord), sizeof(TraceRecord))
        if record.type != TRACE_TYPE or record.bytes != sizeof(TraceRecord):
            raise ValueError("the trace is damaged: a record is none")
        rows.append(row_of(&record))
    return rows
