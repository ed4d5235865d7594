"""A chat: what one says, all others hear.

    underpass run -i eth0 -- python chat.py 7000
"""

import asyncio
import sys

writers = set()


async def talk(reader, writer):
    writers.add(writer)
    try:
        while line := await reader.readline():
            for other in writers - {writer}:
                other.write(line)
    finally:
        writers.discard(writer)
        writer.close()


async def main(port):
    async with await asyncio.start_server(talk, "0.0.0.0", port) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
