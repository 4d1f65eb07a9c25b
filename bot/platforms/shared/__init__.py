"""Delivery of answers on any platform, from an accepted request to its finished answer.

A new platform supplies:
- its PlatformTraits, with which bot.program builds the Bot and the Delivery;
- code that turns its events into Message, Click and FormSubmitted: call `Delivery.accept`, then acknowledge the event
  (within 3 s on Discord and Slack), then call `Answering.begin`; `accept` refuses an event that is delivered twice;
- an Outlet for each way to answer (a reply, an interaction, the token of an interaction before a restart): it renders
  cards within the platform's limits, opens forms if the platform has them, and spaces its edits (`wait_turn`: on
  Discord and Slack the edits of a channel are more than a second apart; wait in `show_whole` before a new message);
- a Platform: posts notices in other channels, deletes messages, reopens answers that a restart interrupted;
- LogRules, so that no token is logged.

The platform gets: at most one visible answer, streaming, Stop, a new answer after an edit, no answer after a deletion,
a limit on refusals, time for running answers before the program ends, and unfinished requests answered after a restart.
"""
