"""What a worker said: the lines of its log, which is JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def said(log: Path, event: str) -> Sequence[Mapping[str, Any]]:
    """Every line about this event (`monitoring/events.py`), oldest first, of all starts of the worker."""
    mark = f'"event":"{event}"'
    with log.open(encoding="utf-8", errors="replace") as lines:
        # A kill may have cut the last line of a start short.
        return [json.loads(line) for line in lines if mark in line and line.endswith("}\n")]
