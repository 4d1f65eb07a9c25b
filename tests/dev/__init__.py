"""`make dev`: the bot on the stand-in for Discord, and a text client to talk to it; needs no account and no network."""
