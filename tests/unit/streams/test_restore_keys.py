"""`thongsuot keys export` and `import`: what is needed when the ledger itself is lost."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.sealing import Sealer, key_id_in
from streams.restore import MissingKeys, require_keys
from tests.unit.cli.running import run, set_environment

NOVEMBER, DECEMBER = datetime(2026, 11, 5, tzinfo=UTC), datetime(2026, 12, 5, tzinfo=UTC)
MASTER = b"k" * 32  # that of the smallest good settings
OTHER_MASTER = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMDA="


def ledger(folder: Path, patch: pytest.MonkeyPatch, name: str, *months: datetime) -> str:
    """A ledger with data keys for these months; the commands look at it. Returns its address."""
    url = f"sqlite:///{folder / name}"
    upgrade(url)
    set_environment(patch, LEDGER_URL=url)

    async def make() -> None:
        async with SqlLedger(url) as store:
            for month in months:
                await Sealer.load(store, MASTER, month)

    asyncio.run(make())
    return url


def keys(url: str) -> dict[str, bytes]:
    async def read() -> dict[str, bytes]:
        async with SqlLedger(url) as store:
            return dict(await store.wrapped_keys())

    return asyncio.run(read())


def test_keys_go_out_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = ledger(tmp_path, monkeypatch, "one.db", NOVEMBER, DECEMBER)
    file = tmp_path / "keys.json"
    told = run("keys", "export", str(file))
    assert told.exit_code == 0, told.stderr
    assert "2026-11, 2026-12" in told.stdout
    assert file.stat().st_mode & 0o077 == 0
    content = json.loads(file.read_text())
    assert sorted(content["keys"]) == ["2026-11", "2026-12"]

    restored = ledger(tmp_path, monkeypatch, "two.db")
    assert run("keys", "import", str(file)).exit_code == 0
    assert keys(restored) == keys(url)
    again = run("keys", "import", str(file))
    assert again.exit_code == 0
    assert "–" in again.stdout, "all of them are there"


def test_a_file_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger(tmp_path, monkeypatch, "one.db", NOVEMBER)
    file = tmp_path / "keys.json"
    file.write_text("older keys")
    told = run("keys", "export", str(file))
    assert told.exit_code == 1
    assert file.read_text() == "older keys"


def test_another_key_of_the_same_month_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger(tmp_path, monkeypatch, "one.db", NOVEMBER)
    file = tmp_path / "keys.json"
    run("keys", "export", str(file))
    other = ledger(tmp_path, monkeypatch, "two.db", NOVEMBER)
    before = keys(other)
    told = run("keys", "import", str(file))
    assert told.exit_code == 1
    assert "2026-11" in told.stderr
    assert keys(other) == before


def test_keys_under_another_master_key_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ledger(tmp_path, monkeypatch, "one.db", NOVEMBER)
    file = tmp_path / "keys.json"
    run("keys", "export", str(file))
    set_environment(monkeypatch, LEDGER_URL=url, MASTER_KEY=OTHER_MASTER)
    told = run("keys", "import", str(file))
    assert told.exit_code == 1
    assert "THONGSUOT_MASTER_KEY" in told.stderr


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "x", "keys": {}}'])
def test_any_other_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    ledger(tmp_path, monkeypatch, "one.db", NOVEMBER)
    file = tmp_path / "keys.json"
    file.write_text(content)
    told = run("keys", "import", str(file))
    assert told.exit_code == 1
    assert "thongsuot keys export" in told.stderr


def test_the_newest_month_of_the_log_must_open() -> None:
    november = Sealer({"2026-11": b"a" * 32}, "2026-11")
    december = Sealer({"2026-12": b"b" * 32}, "2026-12")
    old, new = november.seal(b"x", "d1"), december.seal(b"y", "d2")
    assert (key_id_in(old), key_id_in(b"clear")) == ("2026-11", None)
    require_keys({}, MASTER, [])
    with pytest.raises(MissingKeys, match="2026-12"):
        require_keys({}, MASTER, [(old, "d1"), (new, "d2")])
