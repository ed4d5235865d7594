"""Measurements of Underpass beside other servers: `underpass bench`."""
