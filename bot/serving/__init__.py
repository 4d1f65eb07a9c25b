"""The engine as a server with OpenAI's HTTP interface, for other programs. It knows the engine by its face only."""
