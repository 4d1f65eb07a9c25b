"""Who owns which blocks of a network's KV cache: rows, what they share, and the prefixes that are remembered."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bot.engine.networks.network import BLOCK_TOKENS, Network

_ROOT: Final = 0  # the node before the first block of every text
_Key = tuple[int, tuple[int, ...]]


class Row:
    """One growing sequence: `ids` are its tokens, the first `length` of them have been read by the network.

    Its owner appends to `ids`; the cache owns the rest. `is_remembered` says whether its blocks serve later rows.
    """

    __slots__ = ("blocks", "ids", "is_remembered", "length", "node", "num_known")

    def __init__(self, ids: Iterable[int], *, is_remembered: bool = True) -> None:
        self.ids = list(ids)
        self.length = 0
        self.blocks: list[int] = []
        self.is_remembered = is_remembered
        self.node = _ROOT  # that of its last known block
        self.num_known = 0  # of its blocks, from the first on, that are in the tree of prefixes

    @property
    def num_unread(self) -> int:
        """Return how many of its tokens the network has not read yet."""
        return len(self.ids) - self.length


class PagedCache:
    """The blocks of one network's KV cache.

    A block belongs to every row that uses it and is written by one only: rows that share a block that is not full get
    a copy before they write. Full blocks stay behind their rows, found again by exactly their tokens and all tokens
    before them, until their room is needed (least recently used first): so a text that begins like an earlier one is
    not read again, and a changed template can never meet its old self. Belongs to the model thread.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._num_blocks = network.num_blocks
        self._num_reserved = 0
        self._num_touched = 0  # blocks from here on were never used: their memory is not even there yet
        self._free: list[int] = []
        self._num_users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # remembered blocks without a row, oldest first
        self._block_at: dict[_Key, int] = {}
        self._place_of: dict[int, tuple[_Key, int]] = {}  # block -> where it is in the tree, and its node there
        self._num_nodes = _ROOT
        self.num_reused_tokens = 0

    @property
    def num_blocks(self) -> int:
        """Return how many blocks there are in all."""
        return self._num_blocks

    @property
    def num_used_blocks(self) -> int:
        """Return how many blocks belong to rows."""
        return len(self._num_users)

    @property
    def num_idle_blocks(self) -> int:
        """Return how many blocks are only remembered."""
        return len(self._idle)

    @property
    def num_reserved_blocks(self) -> int:
        """Return how many blocks have been promised."""
        return self._num_reserved

    def reserve(self, num_blocks: int) -> bool:
        """Promise `num_blocks` blocks to a request; return False where there is no room for them now."""
        if self._num_reserved + num_blocks > self._num_blocks:
            return False
        self._num_reserved += num_blocks
        return True

    def unreserve(self, num_blocks: int) -> None:
        """Take back a promise."""
        self._num_reserved -= num_blocks

    @contextmanager
    def rows(self) -> Iterator["Rows"]:
        """Open rows; all that are still open at the end are closed."""
        opened = Rows(self)
        try:
            yield opened
        finally:
            opened.close_all()

    def prepare(self, row: Row, stop: int) -> None:
        """Give `row` blocks of its own to write its tokens from `length` to `stop` into."""
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
        """Put the row's full blocks into the tree of prefixes."""
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
        """Drop every remembered block that no row uses."""
        while self._idle:
            self._free.append(self._drop_oldest())

    def _open(self, ids: Sequence[int], *, is_remembered: bool, after: Row | None) -> Row:
        row = Row(ids, is_remembered=is_remembered)
        if after is not None:
            self.remember(after)
            self._share_beginning(after, row)
        num_shared = row.length
        if not is_remembered or num_shared > row.num_known * BLOCK_TOKENS:
            return row
        # At least one token is left to read: its logits are what everybody wants.
        for at in range(row.num_known, (len(row.ids) - 1) // BLOCK_TOKENS):
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
        # From its end on: what comes last is least likely to begin another text, so it goes first.
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
            raise RuntimeError("A request used more blocks of the cache than it had reserved.")
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

    def open(self, ids: Sequence[int], *, is_remembered: bool = True, after: Row | None = None) -> Row:
        """Open a row of the tokens `ids`; what is remembered of its beginning counts as read already.

        Where `ids` begin with all tokens of an open row, `after`, it shares that row's own blocks.
        """
        return self._keep(self._cache._open(ids, is_remembered=is_remembered, after=after))

    def fork(self, row: Row, new_ids: Iterable[int] = ()) -> Row:
        """Open a copy of `row` that goes on with `new_ids`; they share what has been read."""
        twin = self._keep(self._cache._fork(row))
        twin.ids.extend(new_ids)
        return twin

    def close(self, row: Row) -> None:
        """Let go of a row; closing it twice does nothing."""
        if self._open.pop(id(row), None) is not None:
            self._cache._close(row)

    def close_all(self) -> None:
        """Let go of all rows, the last opened first."""
        for row in reversed(list(self._open.values())):
            self.close(row)

    def _keep(self, row: Row) -> Row:
        self._open[id(row)] = row
        return row


def count_blocks(num_tokens: int) -> int:
    """Return how many blocks hold `num_tokens` tokens."""
    return -(-num_tokens // BLOCK_TOKENS)


def count_blocks_of_branches(num_shared: int, num_branches: int, num_own: int) -> int:
    """Return how many blocks `num_branches` rows need at most that share `num_shared` tokens and add `num_own` each."""
    return count_blocks(num_shared) + num_branches * (count_blocks(num_own) + 1)
