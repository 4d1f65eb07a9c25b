"""Slash commands, buttons, selects and forms."""
