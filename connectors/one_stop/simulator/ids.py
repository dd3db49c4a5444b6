"""Ids as Liferay hands them out: every server takes a block for itself and uses it up at its own pace."""

from __future__ import annotations

from collections import defaultdict


class Ids:
    """Counters per kind of row. With several servers a smaller id is often written after a larger one."""

    def __init__(self, block: int = 100, servers: int = 2) -> None:
        if block < 1 or servers < 1:
            raise ValueError("block and servers must be at least 1")
        self.servers = servers
        self._block = block
        self._next_block: dict[str, int] = defaultdict(int)
        self._range: dict[tuple[str, int], range] = {}

    def take(self, kind: str, server: int = 0) -> int:
        """The next id of `kind` on `server`; a new block when the old one is used up."""
        left = self._range.get((kind, server), range(0))
        if not left:
            start = self._next_block[kind] * self._block + 1
            self._next_block[kind] += 1
            left = range(start, start + self._block)
        self._range[kind, server] = left[1:]
        return left[0]
