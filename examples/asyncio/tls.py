"""An echo server over TLS; the file has the certificate and its key.

    underpass run -i eth0 -- python tls.py 7000 server.pem
"""

import asyncio
import ssl
import sys


async def echo(reader, writer):
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
    writer.close()


async def main(port, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(echo, "0.0.0.0", port, ssl=context) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
