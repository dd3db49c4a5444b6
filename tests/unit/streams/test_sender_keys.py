"""The file of senders' keys, and the settings that name it: every fault with its line, no key in any text."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from streams.sender_keys import BadKeys, read_sender_keys, sender_line
from streams.settings import PREFIX
from tests.unit.streams.test_settings import env, read, told

__all__ = ["env"]

KEY = base64.b64encode(b"k" * 32).decode()
OTHER = base64.b64encode(b"o" * 32).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "senders.keys"


def write(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def test_a_line_for_each_system(file: Path) -> None:
    text = f"# thư điện tử\n\neoffice={KEY}\n  mail.h12 = {OTHER}\n"
    assert read_sender_keys(write(file, text)) == {"eoffice": b"k" * 32, "mail.h12": b"o" * 32}


def test_a_line_that_was_made_is_read(file: Path) -> None:
    lines = [sender_line("eoffice"), sender_line("mail")]
    keys = read_sender_keys(write(file, "\n".join(lines)))
    assert list(keys) == ["eoffice", "mail"]
    assert len(set(keys.values())) == 2


@pytest.mark.parametrize("mode", [0o400, 0o444, 0o600, 0o644], ids=oct)
def test_others_may_read_it(file: Path, mode: int) -> None:
    assert read_sender_keys(write(file, f"eoffice={KEY}", mode))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666], ids=oct)
def test_others_may_not_write_it(file: Path, mode: int) -> None:
    with pytest.raises(BadKeys, match="chmod go-w"):
        read_sender_keys(write(file, f"eoffice={KEY}", mode))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("# eoffice\n", "holds no key"),
        (f"eoffice {KEY[:-1]}", "line 1: has to be CODE=KEY"),
        (f"E-Office={KEY}", "line 1: has to be CODE=KEY"),
        (f"={KEY}", "line 1: has to be CODE=KEY"),
        ("eoffice=", "line 1: the key is not 32 bytes"),
        ("eoffice=c2VjcmV0", "line 1: the key is not 32 bytes"),
        (f"eoffice={KEY}\neoffice={OTHER}", "line 2: this system has a key already"),
        (f"Bưởi={KEY}\nmail=c2VjcmV0\nmail={KEY}", "line 1: .*; line 2: .*; line 3: "),
    ],
    ids=["empty", "comment", "no sign", "capitals", "no code", "no key", "short", "twice", "all"],
)
def test_every_fault_is_told_with_its_line_and_without_the_text(
    file: Path, text: str, said: str
) -> None:
    with pytest.raises(BadKeys, match=said) as caught:
        read_sender_keys(write(file, text))
    assert "thongsuot keys sender" in str(caught.value)
    for secret in (KEY, OTHER, "c2VjcmV0", "Bưởi"):
        assert secret not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b"eoffice=\xff\xfe")
    with pytest.raises(BadKeys, match="is no text"):
        read_sender_keys(file)


@pytest.mark.parametrize("code", ["", "E", "a b", "a=b", "x" * 65])
def test_no_line_is_made_for_what_is_no_code(code: str) -> None:
    with pytest.raises(ValueError, match="small letters"):
        sender_line(code)


# --- settings ----------------------------------------------------------------------------------------


def test_it_is_off_by_default(env: pytest.MonkeyPatch) -> None:
    assert read().receive.port is None
    assert read().receive.keys() == {}
    env.setenv(PREFIX + "RECEIVE__PORT", "off")
    assert read().receive.port is None


def test_a_port_and_keys_switch_it_on(env: pytest.MonkeyPatch, file: Path) -> None:
    env.setenv(PREFIX + "RECEIVE__PORT", "8443")
    env.setenv(PREFIX + "RECEIVE__KEYS_FILE", str(write(file, f"eoffice={KEY}")))
    assert read().receive.port == 8443
    assert read().receive.keys() == {"eoffice": b"k" * 32}


def test_all_problems_are_told_at_once(env: pytest.MonkeyPatch) -> None:
    env.setenv(PREFIX + "RECEIVE__PORT", "http")
    env.setenv(PREFIX + "RECEIVE__AT_ONCE", "0")
    env.setenv(PREFIX + "RECEIVE__MOST_BYTES", "12")
    env.setenv(PREFIX + "RECEIVE__TIMEOUT_SECONDS", "0")
    env.setenv(PREFIX + "RECEIVE__KEYS_FILE", "/nowhere/senders.keys")
    assert [line.partition(":")[0].removeprefix(PREFIX) for line in told()] == [
        "RECEIVE__PORT",
        "RECEIVE__KEYS_FILE",
        "RECEIVE__MOST_BYTES",
        "RECEIVE__AT_ONCE",
        "RECEIVE__TIMEOUT_SECONDS",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "needed with port"),
        (f"eoffice={KEY}\neoffice={KEY}", "line 2: this system has a key already"),
    ],
    ids=["no file", "a faulty file"],
)
def test_a_port_without_keys_is_a_problem_of_the_file(
    env: pytest.MonkeyPatch, file: Path, text: str | None, said: str
) -> None:
    env.setenv(PREFIX + "RECEIVE__PORT", "8443")
    if text is not None:
        env.setenv(PREFIX + "RECEIVE__KEYS_FILE", str(write(file, text)))
    (line,) = told()
    assert line.startswith("THONGSUOT_RECEIVE__KEYS_FILE: ")
    assert said in line
    assert KEY not in line
