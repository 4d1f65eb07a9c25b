"""From cards to Discord's messages, within its size and rate limits."""
