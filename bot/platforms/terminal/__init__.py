"""The terminal: for a person at a keyboard, or for a script on the other side of a pipe."""
