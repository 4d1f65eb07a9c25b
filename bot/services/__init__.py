"""What the bot does on any platform: chat, replies, the ledger of requests, templates, measurements."""
