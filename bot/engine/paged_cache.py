"""The block manager of a network's KV cache: allocation to sequences, sharing, and the cache of prefixes."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bot.engine.networks.network import BLOCK_TOKENS, Network

_ROOT: Final = 0  # the parent of the first block of every sequence
_Key = tuple[int, tuple[int, ...]]


class Row:
    """One growing sequence: `ids` are its tokens, and the KV cache holds the first `length` of them.

    The caller appends to `ids`; the cache owns the rest. `is_remembered` says whether later sequences may reuse its
    blocks.
    """

    __slots__ = ("blocks", "ids", "is_remembered", "length", "node", "num_known")

    def __init__(self, ids: Iterable[int], *, is_remembered: bool = True) -> None:
        self.ids = list(ids)
        self.length = 0
        self.blocks: list[int] = []
        self.is_remembered = is_remembered
        self.node = _ROOT  # of its last block in the prefix tree
        self.num_known = 0  # how many of its first blocks are in the prefix tree

    @property
    def num_unread(self) -> int:
        """Return how many of its tokens are not in the KV cache yet."""
        return len(self.ids) - self.length


class PagedCache:
    """The block manager of one network's KV cache.

    Rows (sequences) share blocks, but only one row writes to a block: a row that shares a block that is not full gets a
    copy before it writes. After a row closes, its full blocks stay cached until their memory is needed (least recently
    used first). A later row reuses them only if the block's tokens and all tokens before it are equal, so a common
    prefix is not read again, and a changed template never matches its old version. Used by the model thread only.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._num_blocks = network.num_blocks
        self._num_reserved = 0
        self._num_touched = 0  # blocks from here on were never used, so the system has not allocated their memory yet
        self._free: list[int] = []
        self._num_users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # cached blocks without a row, oldest first
        self._block_at: dict[_Key, int] = {}
        self._place_of: dict[int, tuple[_Key, int]] = {}  # block -> its key and its node in the prefix tree
        self._num_nodes = _ROOT
        self.num_reused_tokens = 0

    @property
    def num_blocks(self) -> int:
        """Return the total number of blocks."""
        return self._num_blocks

    @property
    def num_used_blocks(self) -> int:
        """Return how many blocks belong to rows."""
        return len(self._num_users)

    @property
    def num_idle_blocks(self) -> int:
        """Return how many cached blocks no row uses."""
        return len(self._idle)

    @property
    def num_reserved_blocks(self) -> int:
        """Return how many blocks are reserved for requests."""
        return self._num_reserved

    def can_hold(self, num_blocks: int) -> bool:
        """Say whether a request that needs `num_blocks` blocks fits while nothing else runs."""
        return num_blocks <= self._num_blocks

    def reserve(self, num_blocks: int) -> bool:
        """Reserve `num_blocks` blocks for a request; return False if there is no room for them now."""
        if self._num_reserved + num_blocks > self._num_blocks:
            return False
        self._num_reserved += num_blocks
        return True

    def unreserve(self, num_blocks: int) -> None:
        """Release a reservation."""
        self._num_reserved -= num_blocks

    @contextmanager
    def rows(self) -> Iterator["Rows"]:
        """Open rows for one request; close those that are still open at the end."""
        opened = Rows(self)
        try:
            yield opened
        finally:
            opened.close_all()

    def prepare(self, row: Row, stop: int) -> None:
        """Allocate the blocks that `row` needs to write its tokens from `length` to `stop`."""
        self.remember(row)
        at = row.length // BLOCK_TOKENS
        if row.length % BLOCK_TOKENS and self._num_users[row.blocks[at]] > 1:
            shared, own = row.blocks[at], self._allocate()
            try:
                self._network.copy_block(shared, own)
            except BaseException:
                self._release(own)
                raise
            row.blocks[at] = own
            self._release(shared)
        while len(row.blocks) * BLOCK_TOKENS < stop:
            row.blocks.append(self._allocate())

    def remember(self, row: Row) -> None:
        """Add the row's full blocks to the prefix tree."""
        if not row.is_remembered:
            return
        num_full = min(row.length, len(row.ids)) // BLOCK_TOKENS
        for at in range(row.num_known, num_full):
            key = (row.node, tuple(row.ids[at * BLOCK_TOKENS : (at + 1) * BLOCK_TOKENS]))
            block = self._block_at.get(key)
            if block is None:
                block = row.blocks[at]
                self._num_nodes += 1
                self._block_at[key] = block
                self._place_of[block] = (key, self._num_nodes)
            row.node = self._place_of[block][1]
            row.num_known = at + 1

    def forget(self) -> None:
        """Drop every cached block that no row uses."""
        while self._idle:
            self._free.append(self._drop_oldest())

    def _open(self, ids: Sequence[int], *, is_remembered: bool, after: Row | None, num_unread: int) -> Row:
        row = Row(ids, is_remembered=is_remembered)
        if after is not None:
            self.remember(after)
            self._share_beginning(after, row)
        num_shared = row.length
        if not is_remembered or num_shared > row.num_known * BLOCK_TOKENS:
            return row
        for at in range(row.num_known, max(0, len(row.ids) - num_unread) // BLOCK_TOKENS):
            block = self._block_at.get((row.node, tuple(row.ids[at * BLOCK_TOKENS : (at + 1) * BLOCK_TOKENS])))
            if block is None:
                break
            self._share(block)
            row.blocks.append(block)
            row.node = self._place_of[block][1]
            row.num_known = at + 1
        row.length = row.num_known * BLOCK_TOKENS
        self.num_reused_tokens += row.length - num_shared
        return row

    def _fork(self, row: Row) -> Row:
        twin = Row(row.ids, is_remembered=row.is_remembered)
        self._share_beginning(row, twin)
        return twin

    def _share_beginning(self, source: Row, row: Row) -> None:
        """Let the new `row` begin with what has been read of `source`."""
        row.length, row.node, row.num_known = source.length, source.node, source.num_known
        row.blocks = source.blocks[: count_blocks(source.length)]
        for block in row.blocks:
            self._share(block)

    def _close(self, row: Row) -> None:
        self.remember(row)
        # From the end: the last blocks are the least likely to be reused, so they are evicted first.
        while row.blocks:
            self._release(row.blocks.pop())
        row.length = 0

    def _share(self, block: int) -> None:
        self._idle.pop(block, None)
        self._num_users[block] = self._num_users.get(block, 0) + 1

    def _release(self, block: int) -> None:
        self._num_users[block] -= 1
        if self._num_users[block]:
            return
        del self._num_users[block]
        if block in self._place_of:
            self._idle[block] = None
        else:
            self._free.append(block)

    def _allocate(self) -> int:
        if self._free:
            block = self._free.pop()
        elif self._num_touched < self._num_blocks:
            block = self._num_touched
            self._num_touched += 1
        elif self._idle:
            block = self._drop_oldest()
        else:
            raise RuntimeError("A request used more KV cache blocks than it reserved.")
        self._num_users[block] = 1
        return block

    def _drop_oldest(self) -> int:
        block, _ = self._idle.popitem(last=False)
        key, _ = self._place_of.pop(block)
        del self._block_at[key]
        return block


class Rows:
    """The open rows of one request."""

    def __init__(self, cache: PagedCache) -> None:
        self._cache = cache
        self._open: dict[int, Row] = {}

    def open(
        self, ids: Sequence[int], *, is_remembered: bool = True, after: Row | None = None, num_unread: int = 1
    ) -> Row:
        """Open a row of the tokens `ids`; what is remembered of its beginning counts as read already.

        Where `ids` begin with all tokens of an open row, `after`, it shares that row's own blocks. What is remembered
        of the last `num_unread` tokens is read once more: a request needs the logits after each of them.
        """
        return self._keep(self._cache._open(ids, is_remembered=is_remembered, after=after, num_unread=num_unread))

    def fork(self, row: Row, new_ids: Iterable[int] = ()) -> Row:
        """Open a copy of `row` that continues with `new_ids`; both share the blocks read so far."""
        twin = self._keep(self._cache._fork(row))
        twin.ids.extend(new_ids)
        return twin

    def close(self, row: Row) -> None:
        """Close a row and release its blocks; closing it twice does nothing."""
        if self._open.pop(id(row), None) is not None:
            self._cache._close(row)

    def close_all(self) -> None:
        """Close all rows, the last opened first."""
        for row in reversed(list(self._open.values())):
            self.close(row)

    def _keep(self, row: Row) -> Row:
        self._open[id(row)] = row
        return row


def count_blocks(num_tokens: int) -> int:
    """Return how many blocks hold `num_tokens` tokens."""
    return -(-num_tokens // BLOCK_TOKENS)


def count_blocks_of_branches(num_shared: int, num_branches: int, num_own: int) -> int:
    """Return the most blocks that `num_branches` rows need if they share `num_shared` tokens and add `num_own` each."""
    return count_blocks(num_shared) + num_branches * (count_blocks(num_own) + 1)
