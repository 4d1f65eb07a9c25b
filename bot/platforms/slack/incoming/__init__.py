"""From Slack's events to messages, edits and deletions."""
