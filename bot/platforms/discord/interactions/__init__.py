"""Slash commands, message menus, buttons, selects and modals."""
