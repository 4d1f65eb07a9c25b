"""Slack: turns its events into messages, clicks and forms, and cards into Slack messages; nothing else."""
