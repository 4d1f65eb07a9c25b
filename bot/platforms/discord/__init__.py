"""Discord: its events to messages and clicks, cards to what Discord shows; nothing else."""
