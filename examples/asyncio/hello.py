"""An HTTP server on Protocol that says hello.

    underpass run -i eth0 -- python hello.py 8000
"""

import asyncio
import sys

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n"


class Hello(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(HELLO * data.count(b"\r\n\r\n"))


async def main(port):
    server = await asyncio.get_running_loop().create_server(Hello, "0.0.0.0", port)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
