"""A file system of a few megabytes, to be filled to its last byte."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.torture.installation import Guard, Installation
from tests.torture.settings import OUTAGE_SECONDS

MEGABYTES = 192
_CHUNKS = (1 << 24, 1 << 20, 1 << 16, 1 << 12)
_REMEDY = (
    "this row needs the right to mount a small tmpfs: run it as root (in a container: with the capability"
    " SYS_ADMIN)"
)


class SmallDisk:
    """A tmpfs of so many megabytes, unmounted when the installation ends. Calls block.

    Raises `Guard` with the remedy when it cannot be mounted.
    """

    def __init__(self, hub: Installation, megabytes: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hub-small-disk-"))
        self.folder.chmod(0o755)
        hub.at_end(self.folder.rmdir)
        try:
            self._mount(megabytes)
        except OSError as error:
            raise Guard(f"{_REMEDY} ({error})") from None
        hub.at_end(self._unmount)

    def fill(self) -> None:
        """Take every free byte."""
        with self._filler.open("wb") as filler:
            end = 0
            for chunk in _CHUNKS:
                while True:
                    try:
                        os.posix_fallocate(filler.fileno(), end, chunk)
                    except OSError:  # less than this is free
                        break
                    end += chunk

    def empty(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def _mount(self, megabytes: int) -> None:
        options = f"size={megabytes}m,mode=755"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode != 0:
            raise OSError(mounted.stderr.strip())

    def _unmount(self) -> None:
        # Lazily: whoever still has a file open there must not leave it mounted for ever.
        subprocess.run(["umount", "-l", self.folder], check=True)


@dataclass(slots=True)
class OnSmallDisk:
    """The row of a disk that fills up: its ledger lies on a disk of its own, which is filled."""

    make: Callable[[Installation, SmallDisk], None]
    disk: SmallDisk | None = None

    async def prepare(self, hub: Installation) -> None:
        self.disk = await asyncio.to_thread(SmallDisk, hub, MEGABYTES)
        await asyncio.to_thread(self.make, hub, self.disk)

    async def fill(self, hub: Installation) -> None:
        """The disk is full for a while."""
        assert self.disk is not None
        await asyncio.to_thread(self.disk.fill)
        try:
            await asyncio.sleep(OUTAGE_SECONDS)
        finally:
            await asyncio.to_thread(self.disk.empty)
