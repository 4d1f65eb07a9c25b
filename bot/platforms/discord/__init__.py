"""Discord: turns its events into messages, clicks and forms, and cards into Discord messages; nothing else."""
