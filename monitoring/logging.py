"""Logs: JSON lines where a machine reads them, readable ones on a terminal, redacted in both.

`configure_logging` is called once by a process's main function and returns the logger that is passed on.
What third-party libraries log goes the same way, from WARNING up, rate-limited, with arguments reduced to
what cannot carry a citizen's data (a 30-second broker outage is thousands of lines from aiokafka alone).
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from monitoring.redaction import MASK, denied, describe, describe_exceptions, redact, redact_text

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
_LEVELS |= {"error": logging.ERROR, "critical": logging.CRITICAL}
_KEYS_MAX = 1024
_FOREIGN_REPEATS = 5
_FOREIGN_PERIOD_SECONDS = 60.0
_HARMLESS = re.compile(r"[\x20-\x7e]{0,120}")
_WITHHELD = "(text withheld)"


class RateLimit:
    """Lets `repeats` of each key through in `period` seconds. Remembers a bounded number of keys."""

    def __init__(
        self, repeats: int, period: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._repeats = repeats
        self._period = period
        self._clock = clock
        self._seen: dict[object, tuple[float, int]] = {}  # key -> start of its period, how many

    def allow(self, key: object) -> int | None:
        """``None``: hold this one back. Else how many of its kind were held back in the period before."""
        now = self._clock()
        since, count = self._seen.get(key, (now, 0))
        held_back = 0
        if now - since >= self._period:
            held_back = max(count - self._repeats, 0)
            since, count = now, 0
            self._seen.pop(key, None)  # so that the oldest period stands first
        if key not in self._seen and len(self._seen) >= _KEYS_MAX:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = (since, count + 1)
        return held_back if count < self._repeats else None


def configure_logging(
    *,
    level: str = "info",
    json: bool | None = None,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    **bound: object,
) -> FilteringBoundLogger:
    """Set up this process's logs on `stream` (standard error) and return the logger to pass on.

    `json`: ``None`` decides by whether the stream is a terminal. `bound` stands in every line. Replaces
    what an earlier call set up. Raises `ValueError` for an unknown level.
    """
    number = _LEVELS.get(level.lower())
    if number is None:
        raise ValueError(f"log level {level!r}: use one of {', '.join(_LEVELS)}")
    out = stream or sys.stderr
    logger = build_logger(out, number, json=not out.isatty() if json is None else json)
    if bound:
        logger = logger.bind(**bound)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, ForeignLogs)]:
        root.removeHandler(handler)
    root.addHandler(ForeignLogs(logger, clock))
    root.setLevel(logging.WARNING)
    # Their debug records are built even when nobody wants them: 15 % of a stream app's time.
    for name in ("aiokafka", "faust", "mode", "kafka", "zeep", "sqlalchemy", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return logger


def build_logger(out: TextIO, level: int, *, json: bool) -> FilteringBoundLogger:
    """A logger without any global set-up, for tests and for `configure_logging`."""
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        describe_exceptions,
        redact,
        # After the redaction: a time is all digits.
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json:
        processors.append(_json_line)
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=24))
    return cast(
        FilteringBoundLogger,
        structlog.wrap_logger(
            structlog.WriteLogger(out) if json else structlog.PrintLogger(out),
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(level),
        ).bind(),
    )


def _json_line(_logger: object, _method: str, event: Mapping[str, Any]) -> str:
    return orjson.dumps(event).decode()


class ForeignLogs(logging.Handler):
    """Carries the records of third-party libraries into our logs, rate-limited and reduced."""

    def __init__(self, logger: FilteringBoundLogger, clock: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger
        self._limit = RateLimit(_FOREIGN_REPEATS, _FOREIGN_PERIOD_SECONDS, clock)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on. Never raises: a library's log line must not stop a delivery."""
        try:
            suppressed = self._limit.allow((record.name, record.levelno, str(record.msg)[:200]))
            if suppressed is not None:
                self._logger.log(
                    max(level for level in _LEVELS.values() if level <= record.levelno),
                    foreign_message(record),
                    logger=record.name,
                    suppressed=suppressed,
                    exc_info=record.exc_info,
                )
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say on standard error which library's line was lost; its text may not be shown."""
        sys.stderr.write(f"a log line of {record.name} could not be written\n")


def foreign_message(record: logging.LogRecord) -> str:
    """A library's message, with every argument reduced to what cannot carry content."""
    template, args = str(record.msg), record.args
    if isinstance(record.msg, BaseException):
        template, args = "%s", (record.msg,)
    try:
        if isinstance(args, Mapping) and "%(" in template:
            text = template % {
                key: MASK if denied(str(key)) else _reduced(value) for key, value in args.items()
            }
        elif args:
            values = (args,) if isinstance(args, Mapping) else args
            text = template % tuple(_reduced(value) for value in values)
        else:
            text = template
    except (TypeError, ValueError, KeyError):
        text = template
    # Libraries speak English: a letter beyond ASCII is content that was formatted in before.
    return redact_text(text) if text.isascii() else _WITHHELD


def _reduced(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, str):
        short = redact_text(value)
        return short if " " not in value and _HARMLESS.fullmatch(short) else _WITHHELD
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if isinstance(value, list | tuple | set | frozenset) and len(value) <= 20:
        return [_reduced(each) for each in value]
    return f"({type(value).__name__})"
