"""The engine of another process of this bot (`python -m bot serve`), which can do all that one in the program can."""
