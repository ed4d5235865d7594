"""An HTTP server by aiohttp.

    underpass run -i eth0 -- python aiohttp_server.py 8000
"""

import sys

from aiohttp import web


async def hello(request):
    return web.json_response({"hello": request.remote})


app = web.Application()
app.router.add_get("/", hello)
web.run_app(app, port=int(sys.argv[1]), print=None)
