"""The words of a report: read from a file that a person writes, checked against the headings that are asked for.

The file is TOML: a title, and the text under each heading by its code.

    title = "Báo cáo …"
    [parts]
    1 = \"\"\"…\"\"\"

The words are free text and may tell of people, so they are kept sealed, and no message quotes them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from monitoring.rates.catalogue import near
from schemas.dossier.csv_table import Problem, TableError, text_of
from schemas.ledger.regimes import FormPlace
from schemas.reports import packets
from schemas.reports.canonical import ContentError
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import Outline, OutlineForm, OutlinePart, report_id
from schemas.sealing import Sealer


def read_outline(file: Path, form: OutlineForm) -> Outline:
    """The words in a file, in the order of the headings. Raises `TableError` with everything that is wrong."""
    return parse_outline(text_of(file), str(file), form)


def parse_outline(text: str, where: str, form: OutlineForm) -> Outline:
    """As `read_outline`."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = (
            str(error).rpartition("(")[2].rstrip(")")
        )  # the place only: the rest may quote the text
        raise TableError(
            where, [Problem(None, None, f"không phải TOML ({at})", f"no TOML ({at})")]
        ) from None
    problems = list(_problems(told, form))
    if problems:
        raise TableError(where, problems)
    parts = told["parts"]
    return Outline(
        title=told["title"].strip(),
        parts=tuple(
            OutlinePart(section=section.code, text=parts[section.code].strip())
            for section in form.sections
            if parts.get(section.code, "").strip()
        ),
    )


def _problems(told: dict[str, object], form: OutlineForm) -> Iterator[Problem]:
    for name in told.keys() - {"title", "parts"}:
        yield Problem(
            None,
            name,
            "không có mục này; chỉ có title và parts",
            "is unknown; there are title and parts",
        )
    title = told.get("title")
    if not isinstance(title, str) or not title.strip():
        yield Problem(None, "title", "thiếu tên báo cáo", "the report's title is missing")
    parts = told.get("parts")
    if not isinstance(parts, dict):
        yield Problem(
            None, "parts", "thiếu phần nội dung [parts]", "the texts are missing: [parts]"
        )
        return
    known = {section.code: section for section in form.sections}
    for code in parts:
        if code not in known:
            like = ", ".join(near(code, tuple(known)) or known)
            yield Problem(
                None,
                code,
                f"đề cương không có mục này; có: {like}",
                f"the outline has no such heading; there are: {like}",
            )
        elif not isinstance(parts[code], str):
            yield Problem(None, code, 'phải là chữ trong """…"""', 'must be text in """…"""')
    for code, section in known.items():
        words = parts.get(code)
        length = len(words.strip()) if isinstance(words, str) else 0
        if section.mandatory and not length and isinstance(words, str | None):
            yield Problem(None, code, "mục bắt buộc mà để trống", "must not be empty")
        if section.max_length is not None and length > section.max_length:
            yield Problem(
                None,
                code,
                f"dài {length} ký tự, nhiều nhất {section.max_length}",
                f"has {length} characters, at most {section.max_length}",
            )


def seal_outline(sealer: Sealer, outline: Outline, owner: str) -> bytes:
    """As the ledger keeps it. `owner`: see `owner_of`. Raises `ContentError` for what is no text."""
    return sealer.seal(packets.canonical(outline), owner)


def open_outline(sealer: Sealer, sealed: bytes, owner: str) -> Outline:
    """The reverse. Raises `SealBroken` or `UnknownKey`."""
    found = packets.read(sealer.open(sealed, owner))
    if not isinstance(found, Outline):
        raise ContentError("the sealed content is no outline")
    return found


def owner_of(place: FormPlace, period: str, agency: str) -> str:
    """What the words of a report are sealed for: the id of the report."""
    return report_id(PacketKind.OUTLINE, place.regime, place.form, period, agency)
