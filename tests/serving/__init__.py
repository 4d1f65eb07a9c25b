"""The engine as a server, asked by real clients."""
