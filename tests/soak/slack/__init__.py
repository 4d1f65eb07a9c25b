"""Long runs of the bot on the stand-in for Slack."""
