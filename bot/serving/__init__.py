"""The engine as a server: an API like OpenAI's over HTTP, and all that an engine can do for a bot elsewhere."""
