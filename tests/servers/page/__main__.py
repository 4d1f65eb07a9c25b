"""python -m tests.servers.page [PORT]: try the page in a browser, with scripted answers."""

import asyncio
import sys

from tests.servers.page import serve_page


async def _serve(port: int) -> None:
    async with serve_page(port) as page:
        page.step_s = 0.08
        page.add("Ada", "hello", minutes_ago=3000)
        sys.stdout.write(f"{page.address}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8123))
