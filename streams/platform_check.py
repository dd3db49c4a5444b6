"""On which machines the hub runs. Imports nothing of ours: it is asked before anything else is loaded."""

from __future__ import annotations

import sys


def platform_refusal(platform: str = sys.platform) -> str | None:
    """``None`` on Linux (WSL2 is Linux); elsewhere the one sentence to print before ending."""
    if platform == "linux":
        return None
    return (
        f"ThôngSuốt chỉ chạy trên Linux hoặc WSL2, không chạy trên {platform!r}. / "
        f"ThôngSuốt runs on Linux or WSL2 only, not on {platform!r}."
    )
