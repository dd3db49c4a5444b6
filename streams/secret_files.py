"""Secrets from files: for every secret setting `X`, the variable `X_FILE` may name a file that holds it.

So that a container gets its passwords as files: an environment is seen by whoever may look at the
process. One newline at the end of the file is not part of the secret.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

SUFFIX = "_FILE"


@dataclass(frozen=True, slots=True)
class UnreadSecret:
    """Stands where the secret would: no setting takes it, and whoever tells the problem asks why."""

    why_vi: str
    why_en: str


def with_secret_files(
    environment: Mapping[str, str | None], secrets: Collection[str]
) -> dict[str, str | UnreadSecret | None]:
    """The environment with the files' contents in place of the variables that name them.

    `secrets` are the variables that may come from a file. Names are compared without regard to case, as
    the settings do. Nothing is raised: a file that cannot be read leaves an `UnreadSecret`.
    """
    allowed = {name.lower() for name in secrets}
    found: dict[str, str | UnreadSecret | None] = {}
    files: dict[str, str] = {}
    for name, value in environment.items():
        secret = name.lower().removesuffix(SUFFIX.lower())
        if value and secret in allowed and name.lower() != secret:
            files[secret] = value
        else:
            found[name] = value
    taken = {name.lower() for name, value in found.items() if value}
    for secret, path in files.items():
        if secret in taken:
            found[secret] = UnreadSecret(
                f"chỉ đặt một trong hai: {secret.upper()} hoặc {secret.upper()}{SUFFIX}",
                f"set either {secret.upper()} or {secret.upper()}{SUFFIX}",
            )
        else:
            found[secret] = _read(path)
    return found


def _read(path: str) -> str | UnreadSecret:
    try:
        text = Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeError) as error:
        why = type(error).__name__
        return UnreadSecret(f"không đọc được {path} ({why})", f"{path} cannot be read ({why})")
    if not text.strip():
        return UnreadSecret(f"{path} trống", f"{path} is empty")
    return text
