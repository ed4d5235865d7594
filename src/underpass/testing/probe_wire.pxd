"""What the other probes share."""
from underpass.wire.segment cimport Segment

cdef dict segment_to_dict(Segment *seg)
