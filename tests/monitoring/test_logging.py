"""One way out for all logs, ours and the libraries'."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.logging import (
    ForeignLogs,
    RateLimit,
    build_logger,
    configure_logging,
    foreign_message,
)


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [each for each in root.handlers if isinstance(each, ForeignLogs)]:
        root.removeHandler(handler)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    log = configure_logging(stream=out, level="info", process="worker")
    log.info("delivered", dossier_id="d-1", note="Trần Thị Bưởi")
    log.debug("not shown")
    (line,) = lines(out)
    assert line["event"] == "delivered"
    assert line["process"] == "worker"
    assert line["level"] == "info"
    assert line["note"] == "***"
    assert line["timestamp"].endswith("Z")


def test_readable_lines_on_a_terminal_and_redacted_too() -> None:
    out = Terminal()
    configure_logging(stream=out).warning("parked", phone_number="0912345678", reason="unmapped")
    assert "parked" in out.getvalue()
    assert "unmapped" in out.getvalue()
    assert "0912345678" not in out.getvalue()
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(out.getvalue())


def test_an_unknown_level_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error, critical"):
        configure_logging(level="loud")


def test_an_exception_is_logged_by_type_without_its_text() -> None:
    out = io.StringIO()
    log = build_logger(out, logging.DEBUG, json=True)
    try:
        raise KeyError("Trần Thị Bưởi")
    except KeyError:
        log.exception("failed")
    (line,) = lines(out)
    assert line["error"] == "KeyError"
    assert line["raised_at"]
    assert "Bưởi" not in out.getvalue()


def test_library_logs_go_the_same_way_and_repeats_are_held_back() -> None:
    out = io.StringIO()
    now = 0.0
    configure_logging(stream=out, clock=lambda: now)
    library = logging.getLogger("aiokafka.conn")
    library.info("joining")
    for node in range(1000):
        library.error("Unable connect to node with id %s: %s", node, OSError(111, "Trần"))
    assert len(lines(out)) == 5
    assert lines(out)[0]["logger"] == "aiokafka.conn"
    assert lines(out)[0]["level"] == "error"
    assert "ECONNREFUSED" in lines(out)[0]["event"]
    assert "Trần" not in out.getvalue()
    now = 61.0
    library.error("Unable connect to node with id %s: %s", 1, OSError(111, "x"))
    assert lines(out)[-1]["suppressed"] == 995


def test_configuring_again_replaces_what_was_there() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(stream=second)
    logging.getLogger("aiokafka").warning("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


@pytest.mark.parametrize(
    ("message", "args", "said"),
    [
        ("node %d of %s", (3, "127.0.0.1:9092"), "node 3 of 127.0.0.1:9092"),
        ("crashed: %r", (KeyError("Trần Thị Bưởi"),), "crashed: 'KeyError'"),
        ("row %s", ("Tran Thi Buoi",), "row (text withheld)"),
        ("row %s", ({"hoTen": "Buoi"},), "row (dict)"),
        ("Lỗi của Trần Thị Bưởi", (), "(text withheld)"),
        ("id 001099123456", (), "id ***"),
        ("%(password)s at %(host)s", ({"password": "x1y2", "host": "db"},), "*** at db"),
        ("%d of them", ("Buoi",), "%d of them"),
        ("bytes %s", (b"Buoi",), "bytes (4 bytes)"),
        (ValueError("Buoi"), (), "ValueError"),
    ],
)
def test_a_librarys_arguments_are_reduced_to_what_carries_no_content(
    message: object, args: Any, said: str
) -> None:
    record = logging.LogRecord("lib", logging.WARNING, "f.py", 1, message, args, None)
    assert foreign_message(record) == said


@given(st.text(min_size=1), st.one_of(st.text(), st.binary(), st.integers(), st.none()))
def test_no_library_line_can_raise(message: str, argument: object) -> None:
    out = io.StringIO()
    handler = ForeignLogs(build_logger(out, logging.DEBUG, json=True), lambda: 0.0)
    handler.handle(logging.LogRecord("lib", 33, "f.py", 1, message, (argument,), None))
    assert len(lines(out)) == 1


def test_a_line_that_cannot_be_written_is_said_without_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = io.StringIO()
    handler = ForeignLogs(build_logger(out, logging.DEBUG, json=True), lambda: 0.0)
    out.close()
    handler.handle(logging.LogRecord("lib", 40, "f.py", 1, "Buoi", (), None))
    assert capsys.readouterr().err == "a log line of lib could not be written\n"


def test_the_rate_limit_remembers_a_bounded_number_of_keys() -> None:
    now = 0.0
    limit = RateLimit(2, 60.0, lambda: now)
    assert [limit.allow("a") for _ in range(4)] == [0, 0, None, None]
    for number in range(5000):
        assert limit.allow(number) == 0
    assert len(limit._seen) <= 1024
    now = 60.0
    assert limit.allow(4999) == 0
