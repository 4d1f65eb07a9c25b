"""From cards to Slack's messages, within its size and rate limits."""
