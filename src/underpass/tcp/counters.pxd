"""The counters of tcp by name, for the tools that show them."""
from underpass.tcp.tcb cimport TcpCounters

# Name to count in the order of the struct, all but `refused`, whose names are those of wire/reason.
cdef dict counters_by_name(const TcpCounters *counters)
