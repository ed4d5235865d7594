"""`served`, in so many threads of one process as the second argument says, each with its event loop."""

import asyncio
import sys
import threading

import served

threads = [threading.Thread(target=lambda: asyncio.run(served.main())) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
