"""Floods of packets from invented sources, to measure a server under, on the bench's own interfaces."""
