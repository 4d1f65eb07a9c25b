"""`python -m tests.servers.openai [VLLM|OPENAI|AZURE|REASONING|LLAMA_CPP]`: try the bot on a stand-in by hand."""

import asyncio
import sys
from contextlib import suppress

from tests.servers.openai import behaviour
from tests.servers.openai.server import serve_forever

if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve_forever(getattr(behaviour, sys.argv[1] if len(sys.argv) > 1 else "VLLM")))
