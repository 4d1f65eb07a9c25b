"""From Discord's events to messages, edits and deletions."""
