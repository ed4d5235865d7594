"""Looking at running workers from outside: who they are, their connections, their counters."""

from underpass.observe.workers import Worker, connections, discover, stats, workers

__all__ = ["Worker", "connections", "discover", "stats", "workers"]
