"""Drive stack/moderation.pyx from Python tests, by the clock that they give."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.stack.moderation cimport (
    CLOCKED, LONG, TRIAL, WOKEN, Moderation, moderation_init, moderation_nap_ns, moderation_naps, moderation_note,
)

NAMES = {WOKEN: "woken", TRIAL: "trial", CLOCKED: "clocked", LONG: "long"}


cdef class ModerationProbe:
    cdef Moderation state
    cdef bint napped

    def __init__(self, uint64_t interval_ns):
        moderation_init(&self.state, interval_ns)

    def note(self, uint64_t now_ns, uint32_t served):
        """A turn has ended."""
        moderation_note(&self.state, now_ns, served, self.napped)
        self.napped = False

    def nap(self):
        """Take a nap, if that is the way now: how long it is, else 0."""
        if not moderation_naps(&self.state):
            return 0
        self.napped = True
        return moderation_nap_ns(&self.state)

    @property
    def name(self):
        """woken, trial, clocked or long."""
        return NAMES[self.state.state]
