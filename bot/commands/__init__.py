"""The commands: each declared once, with the function that answers it."""
