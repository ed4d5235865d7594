"""TCP by the stack, UDP and a subprocess by the kernel, in one loop: lines over TCP are sorted by sort(1),
each datagram comes back.

    underpass run -i eth0 -- python mixed.py 7000
"""

import asyncio
import sys


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


async def sort(reader, writer):
    process = await asyncio.create_subprocess_exec(
        "sort", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate(await reader.read())
    writer.write(out)
    writer.close()


async def main(port):
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, ("0.0.0.0", port))
    async with await asyncio.start_server(sort, "0.0.0.0", port) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
