"""An echo server on streams.

    underpass run -i eth0 -- python echo.py 7000
"""

import asyncio
import sys


async def echo(reader, writer):
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
    writer.close()


async def main(port):
    async with await asyncio.start_server(echo, "0.0.0.0", port) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
