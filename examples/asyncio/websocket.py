"""A websocket server that echoes.

    underpass run -i eth0 -- python websocket.py 8000
"""

import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main(port):
    async with serve(echo, "0.0.0.0", port):
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
