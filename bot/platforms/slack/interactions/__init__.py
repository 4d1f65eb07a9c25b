"""Slash commands, shortcuts, buttons, selects, modals and the Home tab."""
