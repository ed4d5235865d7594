"""Segmentation offload in software, as a link over another one."""
from underpass.link.link cimport Link, LinkBase


cdef class SegmenterLink(LinkBase):
    cdef readonly LinkBase inner
    cdef Link *below
