"""The program: its command line, and the only place that builds the parts of the bot."""
