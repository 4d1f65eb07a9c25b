"""A stand-in for servers with OpenAI's API: on real sockets, with their limits, gaps, lies and faults."""
