"""The service that HTTP steps call: answers every request after 50 ms. A process of its own, so its CPU is its own.

python -m tests.benchmarks.http_server     prints the port, and serves until its standard input is closed
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

DELAY = 0.05  # seconds
_BODY = b'{"ok": true}'


async def _answer(_request: web.BaseRequest) -> web.Response:
    await asyncio.sleep(DELAY)
    return web.Response(body=_BODY, content_type="application/json")


async def _serve() -> None:
    server = web.Server(_answer)  # no routes, no access log: as little work beside the waiting as there can be
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)  # the parent's end of the pipe closes when the parent ends, however it ends
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve())
