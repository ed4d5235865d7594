import asyncio

class StreamReader(asyncio.StreamReader):
    """What a reader of asyncio's streams becomes over a connection of the stack: the same, compiled."""
