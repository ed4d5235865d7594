from underpass.link.spool import SpoolMemory

class Tracer:
    """A trace, and its memory; made by `Stack.trace_start`."""

    memory: SpoolMemory
