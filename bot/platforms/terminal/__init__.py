"""The terminal channel: a person at a keyboard, or a script at the other end of a pipe."""
