"""Slack's rate limits: about one message a second and channel, and the tiers of methods."""

from collections import deque

from tests.servers.slack.clock import Clock

TIERS = {1: 1, 2: 20, 3: 50, 4: 100}  # calls a minute
TIER_OF = {
    "bots.info": 3,
    "chat.appendStream": 4,
    "chat.delete": 3,
    "chat.postEphemeral": 4,
    "chat.startStream": 2,
    "chat.stopStream": 2,
    "chat.update": 3,
    "conversations.history": 3,
    "conversations.info": 3,
    "conversations.join": 3,
    "conversations.list": 2,
    "conversations.members": 4,
    "conversations.open": 3,
    "conversations.replies": 3,
    "files.completeUploadExternal": 4,
    "files.getUploadURLExternal": 4,
    "reactions.add": 3,
    "reactions.remove": 2,
    "usergroups.list": 2,
    "usergroups.users.list": 2,
    "users.info": 4,
    "users.list": 2,
    "views.open": 4,
    "views.publish": 4,
    "views.push": 4,
    "views.update": 4,
}


class Pacing:
    """Counts posts and calls. `scale` shortens every span, so that a test can go through many messages quickly.

    `is_on` False lets everything pass; `burst` is how many messages a channel takes at once.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.is_on = True
        self.scale = 1.0
        self.burst = 4
        self._posts: dict[str, tuple[float, float]] = {}
        self._calls: dict[tuple[str, str], deque[float]] = {}

    def post_wait_s(self, channel_id: str) -> float:
        """Return 0 and count a message in this channel, or the seconds that it comes too early."""
        if not self.is_on:
            return 0.0
        now = self.clock.now()
        left, at = self._posts.get(channel_id, (float(self.burst), now))
        left = min(self.burst, left + (now - at) / self.scale)
        if left < 1:
            self._posts[channel_id] = (left, now)
            return (1 - left) * self.scale
        self._posts[channel_id] = (left - 1, now)
        return 0.0

    def call_wait_s(self, method: str, team_id: str) -> float:
        """Return 0 and count a call in this workspace, or the seconds that it comes too early."""
        if not self.is_on or method not in TIER_OF:
            return 0.0
        span_s = 60 * self.scale
        now = self.clock.now()
        calls = self._calls.setdefault((method, team_id), deque())
        while calls and calls[0] <= now - span_s:
            calls.popleft()
        if len(calls) >= TIERS[TIER_OF[method]]:
            return calls[0] + span_s - now
        calls.append(now)
        return 0.0
