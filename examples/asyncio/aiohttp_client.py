"""A client by aiohttp that fetches a page from elsewhere.

    underpass run -i eth0 -- python aiohttp_client.py http://10.0.0.9/
"""

import asyncio
import sys

import aiohttp


async def main(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        print(response.status, await response.text())


asyncio.run(main(sys.argv[1]))
