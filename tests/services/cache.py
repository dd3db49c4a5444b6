"""What is fetched once and kept: a folder below the user's cache folder, safe for several at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.services.server_process import ServiceFailed, program

JAVA_REMEDY = "install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)"
MAVEN_REMEDY = "install Maven (Debian: apt-get install maven openjdk-17-jre-headless)"


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "thongsuot"


def cached(name: str, recipe: str, fill: Callable[[Path], None]) -> Path:
    """The folder `name`, filled once. `recipe` is what it was made from: another one makes it anew.

    `fill` gets an empty folder, which takes its place only when it is complete.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    made_from = folder / "made-from"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made_from.exists() or made_from.read_text() != recipe:
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{name}.") as partial:
                content = Path(partial) / "content"
                content.mkdir()
                fill(content)
                (content / "made-from").write_text(recipe)
                shutil.rmtree(folder, ignore_errors=True)
                content.rename(folder)
    return folder


def java() -> str:
    """Raises `ServiceMissing`."""
    return program("java", JAVA_REMEDY)


def maven(*arguments: str | Path, folder: Path) -> None:
    """Run Maven without its network when its repository has everything, else with it.

    Raises `ServiceMissing` or `ServiceFailed`.
    """
    java()
    command = [program("mvn", MAVEN_REMEDY), "-B", "-ntp", "-q", *map(str, arguments)]
    if _run([*command, "-o"], folder).returncode == 0:
        return
    done = _run(command, folder)
    if done.returncode != 0:
        raise ServiceFailed(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
