"""The road that every platform shares, from an accepted request to its finished answer; it knows none of them.

A new platform supplies:
- its PlatformTraits, stated once, with which __main__ builds the Bot and the Delivery;
- what reads its events into Message, Click and FormSubmitted: `Delivery.accept` first, then its acknowledgement (in 3 s
  on Discord and Slack), then `Answering.begin`; an event delivered twice is refused by `accept`;
- an Outlet for each way to answer (a reply, an interaction, a token of an earlier run): it renders cards within the
  platform's limits, opens a form where one can be opened, and keeps the pace (`wait_turn`: Discord's and Slack's edits
  of a channel are more than a second apart; a wait before a new message belongs into `show_whole`);
- a Platform: notices in other channels, deleting, and reopening what a restart interrupted;
- LogRules, so that no token is logged.

It gets: at most one visible answer, streaming, Stop, answers begun anew after an edit or ended by a deletion, a budget
for refusals, draining before the end, and unfinished work that goes on after a restart.
"""
