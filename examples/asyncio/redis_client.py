"""A client of a Redis server elsewhere.

    underpass run -i eth0 -- python redis_client.py 10.0.0.9
"""

import asyncio
import sys

import redis.asyncio


async def main(host):
    async with redis.asyncio.Redis(host=host) as client:
        await client.set("greeting", "hello from user space")
        print((await client.get("greeting")).decode())


asyncio.run(main(sys.argv[1]))
