"""Nothing of a person or a secret leaves through a log line: the last gate, not the first.

Steps log ids, codes, reasons and numbers. Should anything else reach a line, it is masked here:

- the value of a key on the deny-list (`DENIED`), whatever it is;
- in any text: personal numbers (12 or 9 digits), phone numbers, e-mail addresses, ``password=`` and its
  kin, credentials in a URL, anything with XML tags in it;
- bytes, and objects whose text we do not control: their type's name stands instead;
- of an exception the types and places, and a text only where the class is ours (our texts are closed).

Dossier codes, UUIDs and hexadecimal digests stay readable. Our own ids (`IDS`) are not searched for
digits, because a source's row ids may have nine; they stay only while they look like ids.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Mapping, Set
from datetime import date, datetime
from pathlib import PurePath
from types import TracebackType
from uuid import UUID

from structlog.typing import EventDict, WrappedLogger

MASK = "***"
TEXT_MAX = 500  # characters of a value that a line keeps

# A key is denied when it contains one of these, in lower case and without underscores or hyphens.
DENIED = (
    "password", "passwd", "secret", "token", "authorization", "cookie", "credential", "apikey",
    "privatekey", "masterkey", "datakey", "session", "applicant", "citizen", "person", "ownername",
    "fullname", "hoten", "phone", "telno", "mobile", "dienthoai", "email", "address", "diachi",
    "birth", "ngaysinh", "identity", "idno", "cccd", "cmnd", "passport", "payload", "envelope",
    "body", "xml", "content", "answer", "request", "sealed", "filename", "note", "dsn",
)  # fmt: skip
_DENIED_EXACT = frozenset({"name", "text", "value", "officer", "summary"})
_ALLOWED = frozenset({"contenthash"})

# Keys that hold ids of ours or of Kafka.
IDS = frozenset(
    {"dossier_id", "event_id", "attempt_id", "delivery_id", "message_id", "row_id", "topic"}
    | {"flow", "owner", "source", "target", "at"}
)
_ID = re.compile(r"[A-Za-z0-9._:/+-]{1,200}")

OURS = ("streams.", "connectors.", "monitoring.", "schemas.")

_SUSPICIOUS = re.compile(r"[@=:<]|\d[\d .-]{7,}|bearer|basic", re.IGNORECASE)
_XML = re.compile(r"</[A-Za-z]|<\?xml|<!|/>")
_PATTERNS = re.compile(
    r"""
    (?P<keep>
        (?<![\w])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?!\w)
      | (?<![\w])(?=[0-9]*[a-f])[0-9a-f]{32,128}(?!\w)
      | (?<![\w])(?:\d{3}\.){0,2}(?:\d{2,3}\.){0,2}[HG]\d{2}(?:\.\d{1,3}){0,3}-(?:\d{6}|\d{8})-\d{4,8}(?!\w)
    )
  | (?P<scheme>[a-z][a-z0-9+.-]{0,30}://)[^\s/?\#]*@
  | (?P<email>[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*)
  | (?P<label>(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|authorization|cookie|mật\ khẩu|mat_?khau)
        \w{0,20}["']?\s{0,3}[:=]\s{0,3})(?:(?:bearer|basic)\s+)?(?:"[^"]*"?|'[^']*'?|[^\s,;&]+)
  | (?P<scheme_word>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}
  | (?P<phone>(?<![\d.])(?:\+|00)?84(?:[ .-]?\d){9,10}(?!\d)|(?<![\d.])0(?:[ .-]?\d){9,10}(?!\d))
  | (?P<personal>(?<!\d)\d{3}[ -]?\d{3}[ -]?\d{3}(?:[ -]?\d{3})?(?!\d))
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SEARCHED_MAX = 10_000
_DEPTH_MAX = 4
_ITEMS_MAX = 50


def _masked(found: re.Match[str]) -> str:
    kept = found["keep"]
    if kept is not None:
        return kept
    if found["scheme"]:
        return f"{found['scheme']}{MASK}@"
    return f"{found['label'] or found['scheme_word'] or ''}{MASK}"


def redact_text(text: str) -> str:
    """The text with everything masked that looks like a person's data or a secret, on one line."""
    text = text[:_SEARCHED_MAX].encode("utf-8", "replace").decode("utf-8")
    text = _CONTROL.sub(" ", text)
    if _SUSPICIOUS.search(text):
        if _XML.search(text):
            return "(markup withheld)"
        text = _PATTERNS.sub(_masked, text)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"


def denied(key: str) -> bool:
    """Whether a key's value is masked whatever it is."""
    flat = key.lower().replace("_", "").replace("-", "")
    if flat in _ALLOWED:
        return False
    return flat in _DENIED_EXACT or any(word in flat for word in DENIED)


def redact_value(key: str, value: object, depth: int = 0) -> object:
    """What may stand in a line for `value` under `key`: numbers, texts, lists and dicts only."""
    if value is None or isinstance(value, bool):
        return value
    if denied(key):
        return MASK
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, str):
        if key in IDS and _ID.fullmatch(value):
            return value
        return redact_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value)} bytes)"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, PurePath):
        return redact_text(str(value))
    if isinstance(value, BaseException):
        return describe(value)
    if depth < _DEPTH_MAX:
        if isinstance(value, Mapping):
            pairs = list(value.items())[:_ITEMS_MAX]
            return {
                redact_text(str(inner)): redact_value(str(inner), each, depth + 1)
                for inner, each in pairs
            }
        if isinstance(value, list | tuple | Set):
            return [redact_value(key, each, depth + 1) for each in list(value)[:_ITEMS_MAX]]
    return f"({type(value).__name__})"


def describe(error: BaseException) -> str:
    """An exception's type, with its text where the class is ours, or its error number's name."""
    kind = type(error)
    if f"{kind.__module__}.".startswith(OURS):
        return f"{kind.__name__}: {redact_text(str(error))}"
    number = error.errno if isinstance(error, OSError) else None
    return f"{kind.__name__} {errno.errorcode.get(number, number)}" if number else kind.__name__


def _places(trace: TracebackType | None) -> list[str]:
    """The innermost frames, innermost last, as ``module:line function``."""
    places = []
    while trace is not None:
        frame = trace.tb_frame
        module = frame.f_globals.get("__name__", "?")
        places.append(f"{module}:{trace.tb_lineno} {frame.f_code.co_name}")
        trace = trace.tb_next
    return places[-8:]


def describe_exceptions(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: `exc_info` becomes `error` (types, outermost first) and `raised_at` (places)."""
    info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if info is True:
        info = sys.exc_info()[1]
    elif isinstance(info, tuple):
        info = info[1]
    if isinstance(info, BaseException):
        chain: list[str] = []
        seen: BaseException | None = info
        while seen is not None and len(chain) < 5:
            chain.append(describe(seen))
            seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        event["error"] = chain[0] if len(chain) == 1 else chain
        event["raised_at"] = _places(info.__traceback__)
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: every value of the line as `redact_value` leaves it."""
    return {redact_text(str(key)): redact_value(str(key), value) for key, value in event.items()}
