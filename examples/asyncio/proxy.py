"""A TCP proxy: both of its connections go by the stack.

    underpass run -i eth0 -- python proxy.py 7000 10.0.0.9 80
"""

import asyncio
import sys


async def carry(reader, writer):
    while octets := await reader.read(262144):
        writer.write(octets)
        await writer.drain()
    writer.write_eof()


async def main(port, host, to_port):
    async def serve(reader, writer):
        there, onward = await asyncio.open_connection(host, to_port)
        await asyncio.gather(carry(reader, onward), carry(there, writer))
        onward.close()
        writer.close()

    async with await asyncio.start_server(serve, "0.0.0.0", port) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
