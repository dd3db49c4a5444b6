"""A key store in memory, with the same promise as the ledger's: the first to add a key wins."""

from __future__ import annotations

from collections.abc import Mapping


class MemoryKeyStore:
    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.reads = 0

    async def wrapped_keys(self) -> Mapping[str, bytes]:
        self.reads += 1
        return dict(self.keys)

    async def add_wrapped_key(self, key_id: str, wrapped: bytes) -> None:
        self.keys.setdefault(key_id, wrapped)

    def drop(self, key_id: str) -> None:
        """What erasing a month does."""
        del self.keys[key_id]
