"""From cards to Discord's messages, within its limits and rates."""
