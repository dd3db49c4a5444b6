"""`thongsuot check`: every counterpart is asked, and every problem is told at once with its remedy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace

from connectors.errors import DeliveryError, TransientError
from connectors.gov_reporting.elements import ElementsError, load_elements
from connectors.gov_reporting.sink import GovReporting
from connectors.national_portal.dialect import DialectError, load_dialect
from connectors.national_portal.sink import NationalPortal
from connectors.one_stop.source import OneStopSource
from schemas.codec import Codec
from schemas.dossier.csv_table import TableError
from schemas.ledger.migrate import require_current
from schemas.ledger.model import (
    LedgerMismatch,
    LedgerRefuses,
    LedgerReplaced,
    LedgerUnavailable,
)
from schemas.ledger.sql import SqlLedger
from schemas.registry import HttpRegistry, LocalRegistry, RegistryError, RegistryUnavailable
from schemas.sealing import KEY_BYTES, Hasher, Sealer, SealError, unwrapped
from streams.mail import MailError, MailServer
from streams.reason_texts import in_words
from streams.recipients import NOBODY, read_recipients
from streams.reference import read_reference
from streams.settings import Settings
from streams.topic_check import BrokerUnreachable, TopicsUnfit, differences, read_topics

_PORTAL_REMEDY = "is the portal, or the security server before it, reachable at THONGSUOT_NATIONAL_PORTAL__ADDRESS?"

_REPORTING_REMEDY = (
    "is the reporting system, or the provincial platform before it, reachable at"
    " THONGSUOT_GOV_REPORTING__ADDRESS?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a table in a file: a row for people, and for programs by `--json`.

    Without `line` it concerns the file, without `column` the line.
    """

    file: str
    line: int | None
    column: str | None
    vi: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One counterpart. `problems` stop the hub, `hints` do not; of tables in files `faults` tell the same in parts."""

    name: str
    vi: str
    en: str
    problems: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    why_vi: str = ""
    """The problem in Vietnamese, with what to do; `problems` hold the exact words in English, of tables in both."""
    faults: tuple[Fault, ...] = ()


def as_dict(checked: Checked) -> dict[str, object]:
    """For `--json`."""
    return {**asdict(checked), "ok": not checked.problems}


async def everything(settings: Settings) -> Sequence[Checked]:
    """All counterparts, each asked even if another failed."""
    return await asyncio.gather(
        ledger(settings),
        broker(settings),
        registry(settings),
        one_stop(settings),
        national_portal(settings),
        *([gov_reporting(settings)] if settings.gov_reporting is not None else []),
        reference(settings),
        *([mail(settings)] if settings.mail.host is not None else []),
    )


async def ledger(settings: Settings) -> Checked:
    """Reachable, migrated, and its data keys open with the master key."""

    async def ask() -> tuple[str, ...]:
        url = settings.ledger_url.get_secret_value()
        await asyncio.to_thread(require_current, url)
        async with SqlLedger(url) as store:
            # Opened, and none made: one made here would stand in the way of `keys import`.
            unwrapped(settings.master_key_bytes(), await store.wrapped_keys())
        return ()

    return await _told("ledger", "Sổ cái", "ledger", ask)


async def broker(settings: Settings) -> Checked:
    """Reachable, with every topic as the catalogue says."""

    async def ask() -> tuple[str, ...]:
        found = await read_topics(settings.kafka)
        return tuple(one.en for one in differences(found, settings.kafka.partitions))

    return await _told("kafka", "Kafka và các chủ đề", "Kafka and its topics", ask)


async def registry(settings: Settings) -> Checked:
    """Every schema that we write is known there."""

    async def ask() -> tuple[str, ...]:
        if settings.registry_url is None:
            await Codec(LocalRegistry()).prepare()
            return ()
        found = HttpRegistry(settings.registry_url)
        try:
            await Codec(found).prepare()
        except RegistryUnavailable as error:
            return (f"{error}: check THONGSUOT_REGISTRY_URL",)
        finally:
            await found.close()
        return ()

    return await _told("registry", "Lược đồ Avro", "Avro schemas", ask)


async def one_stop(settings: Settings) -> Checked:
    """Reachable, readable, with the tables and the zone that we expect."""
    source = OneStopSource(settings.one_stop, _passing_sealer(), Hasher(settings.hash_key_bytes()))
    try:
        found = tuple(await source.check())
    finally:
        await source.close()
    hints = tuple(line for line in found if line.startswith("advice:"))
    problems = tuple(line for line in found if line not in hints)
    return Checked(
        name="one_stop",
        vi="Hệ thống Một cửa",
        en="one-stop system",
        problems=problems,
        hints=hints,
        why_vi=_WRONG_VI["one_stop"] if problems else "",
    )


async def national_portal(settings: Settings) -> Checked:
    """Logs in and looks one dossier up: no side effects."""

    async def ask() -> tuple[str, ...]:
        dialect = load_dialect(settings.national_portal.dialect)
        hasher = Hasher(settings.hash_key_bytes())
        portal = NationalPortal(settings.national_portal, dialect, _passing_sealer(), hasher)
        try:
            await portal.open()
            await portal.probe()
        except TransientError as error:
            return (f"{error}: {_PORTAL_REMEDY}",)
        finally:
            await portal.close()
        return ()

    return await _told("national_portal", "Cổng Dịch vụ công quốc gia", "national portal", ask)


async def gov_reporting(settings: Settings) -> Checked:
    """Gets a token and looks a report up that cannot be there: no side effects."""

    async def ask() -> tuple[str, ...]:
        reporting = settings.gov_reporting
        assert reporting is not None
        elements = load_elements(reporting.elements)
        hasher = Hasher(settings.hash_key_bytes())
        sink = GovReporting(reporting, elements, _passing_sealer(), hasher)
        try:
            await sink.open()
            await sink.probe()
        except TransientError as error:
            return (f"{error}: {_REPORTING_REMEDY}",)
        finally:
            await sink.close()
        return ()

    return await _told(
        "gov_reporting", "Hệ thống báo cáo Chính phủ", "Government reporting system", ask
    )


async def reference(settings: Settings) -> Checked:
    """The tables that people keep in files can be read."""

    faults: list[Fault] = []

    async def ask() -> tuple[str, ...]:
        try:
            await asyncio.to_thread(read_reference, settings.reference)
        except TableError as error:
            faults.extend(_faults(error))
            return tuple(_in_both(error))
        return ()

    found = await _told("reference", "Danh mục và lịch làm việc", "tables in files", ask)
    return replace(found, faults=tuple(faults))


async def mail(settings: Settings) -> Checked:
    """Answers and takes the password; nothing is sent. Somebody gets mails, if any are to go out."""

    faults: list[Fault] = []

    async def ask() -> tuple[str, ...]:
        problems = []
        try:
            await MailServer(settings.mail).probe()
        except MailError as error:
            problems.append(str(error))
        file = settings.reference.recipients_file
        try:
            units = read_recipients(file, ()) if file is not None else {}
        except TableError as error:
            faults.extend(_faults(error))
            problems += _in_both(error)
        else:
            if settings.mail.hour is not None and not (settings.mail.to or units):
                problems.append(NOBODY)
        return tuple(problems)

    found = await _told("mail", "Máy chủ thư", "mail server", ask)
    return replace(found, faults=tuple(faults))


def _in_both(error: TableError) -> list[str]:
    """A line for each problem, Vietnamese first."""
    return [f"{error.where}, {' / '.join(told)}" for told in error.told]


def _faults(error: TableError) -> list[Fault]:
    return [
        Fault(file=error.where, line=one.line, column=one.column, vi=one.vi, en=one.en)
        for one in error.problems
    ]


def _passing_sealer() -> Sealer:
    """A sealer under a key of its own: a check keeps nothing, and needs no ledger."""
    return Sealer({"check": os.urandom(KEY_BYTES)}, "check")


async def _told(
    name: str, vi: str, en: str, ask: Callable[[], Awaitable[tuple[str, ...]]]
) -> Checked:
    try:
        problems = await ask()
    except (
        BrokerUnreachable,
        DeliveryError,
        DialectError,
        ElementsError,
        LedgerMismatch,
        LedgerRefuses,
        LedgerUnavailable,
        OSError,
        RegistryError,
        SealError,
    ) as error:
        problems = (str(error) or type(error).__name__,)
        return Checked(name=name, vi=vi, en=en, problems=problems, why_vi=in_vietnamese(error))
    why = _WRONG_VI.get(name, "") if problems else ""
    return Checked(name=name, vi=vi, en=en, problems=problems, why_vi=why)


def in_vietnamese(error: Exception) -> str:
    """What an operator does about an error of a counterpart."""
    if isinstance(error, DeliveryError):
        return in_words(error.reason)[0]
    return next((words for kind, words in _ERRORS_VI if isinstance(error, kind)), "lỗi hệ thống")


_ERRORS_VI: tuple[tuple[type[Exception], str], ...] = (
    (LedgerReplaced, "sổ cái vừa được phục hồi khi lệnh đang chạy: chạy lại lệnh"),
    (TopicsUnfit, "chủ đề thiếu hoặc chưa đúng: chạy thongsuot topics check"),
    (LedgerMismatch, "bảng của sổ cái chưa đúng phiên bản: chạy thongsuot db upgrade"),
    (LedgerRefuses, "sổ cái không nhận dữ liệu này: xem lý do bằng tiếng Anh kèm theo"),
    (LedgerUnavailable, "không kết nối được sổ cái: kiểm tra THONGSUOT_LEDGER_URL"),
    (BrokerUnreachable, "không kết nối được Kafka: kiểm tra THONGSUOT_KAFKA__BOOTSTRAP_SERVERS"),
    (
        RegistryError,
        "chưa dùng được registry: kiểm tra THONGSUOT_REGISTRY_URL, rồi schemas register",
    ),
    (SealError, "khoá chính không mở được khoá dữ liệu: kiểm tra THONGSUOT_MASTER_KEY"),
    (ElementsError, "bảng tên phần tử không đúng: kiểm tra THONGSUOT_GOV_REPORTING__ELEMENTS"),
    (DialectError, "phương ngữ không đúng: kiểm tra THONGSUOT_NATIONAL_PORTAL__DIALECT"),
)

_WRONG_VI = {
    "kafka": "thiếu chủ đề (chạy thongsuot topics create), hoặc chủ đề khác với danh mục",
    "registry": "chưa dùng được registry: kiểm tra THONGSUOT_REGISTRY_URL",
    "one_stop": "chưa đọc được hệ thống Một cửa: kiểm tra THONGSUOT_ONE_STOP__URL và quyền SELECT",
    "reference": "tệp danh mục có lỗi: sửa tệp mà THONGSUOT_REFERENCE__… chỉ tới",
    "national_portal": "chưa gọi được Cổng: kiểm tra THONGSUOT_NATIONAL_PORTAL__ADDRESS",
    "gov_reporting": "chưa gọi được hệ thống báo cáo: kiểm tra THONGSUOT_GOV_REPORTING__ADDRESS",
    "mail": "chưa gửi thư được: kiểm tra THONGSUOT_MAIL__… và danh sách người nhận",
}
