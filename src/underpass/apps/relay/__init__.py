"""A path between two interfaces with delay, a bottleneck, loss, reordering and duplication, in user space."""
