"""Discord's limits of new sessions: how many a day, how soon after another one, and of how many shards."""

import time
from dataclasses import dataclass, field


@dataclass
class IdentifyLimit:
    """The shards with the same `shard_id % max_concurrency` are a bucket, in which sessions begin `pause_s` apart.

    `began_at_s` has the times of each bucket's sessions. Tests that connect often have no pause.
    """

    max_concurrency: int = 1
    pause_s: float = 0.0
    min_shards: int = 1
    began_at_s: dict[int, list[float]] = field(default_factory=dict)

    def is_too_soon(self, shard_id: int) -> bool:
        """Note an IDENTIFY, and say whether Discord answers it with an invalid session."""
        times = self.began_at_s.setdefault(shard_id % self.max_concurrency, [])
        now_s = time.monotonic()
        if times and now_s - times[-1] < self.pause_s:
            return True
        times.append(now_s)
        return False
