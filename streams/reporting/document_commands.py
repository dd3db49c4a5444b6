"""`thongsuot report document`: a report as the paper form, in Excel and PDF, from its frozen figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from sqlalchemy import Connection

from monitoring.rates.catalogue import Words
from schemas.dossier.agencies import Agencies
from schemas.dossier.mappings import CodeList
from schemas.ledger import regimes, report_store
from schemas.ledger.report_store import Report, Take, report_id_of
from schemas.reports import snapshots
from schemas.reports.periods import WRITE_PERIOD, parse_period
from schemas.reports.regimes import Catalogue
from schemas.reports.snapshots import Snapshot
from streams.commands import out, refused, say_json, settings
from streams.reference import read_reference
from streams.reporting.cell_sources import FORM_COLUMNS
from streams.reporting.documents import cells_form, form_206
from streams.reporting.documents.form_206 import Key, Names
from streams.reporting.documents.paper import pdf_of
from streams.reporting.documents.sheet import Meta, Sheet
from streams.reporting.documents.workbook import xlsx_of
from streams.reporting.form_filling import treatment_of
from streams.reporting.names import agency_names, code_names
from streams.reporting.regime_commands import AsJson, reporter, with_ledger
from streams.reporting.regime_filling import forms_of
from streams.reporting.sources import FORM_206

RECEIVER = "Văn phòng Chính phủ"
"""To whom reports go that name no other: form II.06 is the Office of the Government's (Circular 01/2020)."""


document_commands = typer.Typer(help="In báo cáo · print a report")


@document_commands.command("document")
def report_document(
    period: Annotated[str, typer.Argument(help="Kỳ, ví dụ 2026-08, 2026-Q3, 2026 · the period")],
    regime: Annotated[str, typer.Option(help="Chế độ báo cáo · the regime")] = FORM_206,
    form: Annotated[str, typer.Option(help="Biểu · the form")] = "II.06a",
    revision: Annotated[
        int | None, typer.Option(min=1, help="Bản số, mặc định bản mới nhất · the revision")
    ] = None,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", help="Ghi tệp Excel · write Excel")] = None,
    pdf: Annotated[Path | None, typer.Option("--pdf", help="Ghi tệp PDF · write PDF")] = None,
    place: Annotated[
        str, typer.Option(help="Địa danh ở chỗ ký · the place at the signature")
    ] = "……………",
    as_json: AsJson = False,
) -> None:
    """In báo cáo đã chốt theo mẫu giấy, ra Excel và PDF · print a frozen report as the paper form."""
    if xlsx is None and pdf is None:
        raise refused(Words(vi="ghi --xlsx hoặc --pdf", en="give --xlsx or --pdf"))
    wanted = settings()
    agency = reporter(wanted)
    directory = read_reference(wanted.reference).agencies

    def read(c: Connection) -> tuple[Report, Take, Snapshot, Names, Catalogue]:
        report, take = _frozen(c, report_id_of(regime, period, agency), period, revision)
        kept = snapshots.read(report_store.content_of(c, take.ref))
        return report, take, kept, _names(c, directory), regimes.catalogue(c)

    report, take, kept, names, found = with_ledger(wanted, lambda lane: lane.read(read))
    sheet, meta = _sheet(report, take, kept, names, found, form, place)
    written: dict[str, str] = {}
    for kind, file, draw in (("xlsx", xlsx, xlsx_of), ("pdf", pdf, pdf_of)):
        if file is not None:
            try:
                file.write_bytes(draw(sheet, meta))
            except OSError as error:
                raise refused(
                    Words(vi=f"không ghi được tệp {file}", en=f"{file}: {error.strerror}")
                ) from None
            written[kind] = str(file)
    if as_json:
        say_json(
            {
                "report_id": report.report_id,
                "form": form,
                "revision": take.revision,
                "snapshot_hash": take.snapshot_hash,
                "draft": meta.draft,
                **written,
            }
        )
        return
    for file_written in written.values():
        out.print(
            f"[green]✔[/green] {escape(file_written)}  [dim]{take.snapshot_hash}[/dim]",
            highlight=False,
            soft_wrap=True,
        )


def _frozen(
    connection: Connection, report_id: str, period: str, revision: int | None
) -> tuple[Report, Take]:
    """A report and the newest take of a revision. Ends with status 2 where there is none."""
    if parse_period(period) is None:
        vi, en = WRITE_PERIOD
        raise refused(Words(vi=f"{period}: {vi}", en=f"{period}: {en}"))
    report = report_store.report_of(connection, report_id)
    takes = [] if report is None else report_store.takes(connection, report_id)
    wanted = [one for one in takes if revision in (None, one.revision)]
    if report is None or not wanted:
        which = "" if revision is None else f" {revision}"
        raise refused(
            Words(
                vi=f"{report_id}: chưa có số liệu đã chốt của bản{which}",
                en=f"{report_id}: nothing was frozen of revision{which}",
            )
        )
    return report, wanted[0]


def _sheet(
    report: Report,
    take: Take,
    kept: Snapshot,
    names: Names,
    found: Catalogue,
    form: str,
    place: str,
) -> tuple[Sheet, Meta]:
    """The table and what stands around it. Ends with status 2 for a form that the report has not."""
    number, issued_by, title, unit = form, cells_form.ISSUED_BY_UNKNOWN, form, "theo từng ô"
    notes: tuple[str, ...] = ()
    receiver = RECEIVER
    if report.regime == FORM_206 and form in form_206.NUMBER:
        sheet = form_206.sheet(form, rows_of(kept), names)
        number, title = form_206.NUMBER[form], form_206.TITLE[form]
        issued_by, unit = form_206.ISSUED_BY, form_206.UNIT
        notes = form_206.notes(treatment_of(kept.rules))
    else:
        filled = {one.place.form: one for one in forms_of(kept)}
        if form not in filled:
            known = ", ".join(form_206.NUMBER if report.regime == FORM_206 else filled) or "–"
            raise refused(
                Words(
                    vi=f"--form: báo cáo không có biểu {form}; có: {known}",
                    en=f"--form: the report has no form {form}; there are: {known}",
                )
            )
        one = filled[form]
        sheet = cells_form.sheet(one, names.agencies)
        definition = found.forms.get((one.place.form, one.place.form_version))
        title = form if definition is None else definition.name.upper()
        regime = found.legal.get(report.regime)
        if regime is not None:
            issued_by = regime.legal_basis or cells_form.ISSUED_BY_UNKNOWN
            receiver = names.agencies.get(regime.issued_by, regime.issued_by)
    parsed = parse_period(report.period)
    return sheet, Meta(
        number=number,
        issued_by=issued_by,
        title=title,
        period=report.period if parsed is None else parsed.vi,
        first=kept.window.first,
        last=kept.window.last,
        reporter=names.agencies.get(report.agency, report.agency),
        receiver=receiver,
        unit=unit,
        place=place,
        revision=take.revision,
        snapshot_hash=take.snapshot_hash,
        known_at=take.known_at,
        draft=take.approved_at is None,
        notes=notes,
    )


def rows_of(kept: Snapshot) -> dict[Key, tuple[int, ...]]:
    """The leaf rows of form II.06, with the figures of the columns 3 to 13 in their order.

    Raises `ValueError` for a snapshot that is none of form II.06.
    """
    places = [kept.columns.index(column) for column in FORM_COLUMNS]
    found: dict[Key, tuple[int, ...]] = {}
    for row in kept.rows:
        figures = tuple(row.values[place] for place in places)
        counts = tuple(figure for figure in figures if isinstance(figure, int))
        if len(counts) != len(figures):
            raise ValueError("snapshot: a figure of form II.06 is no count")
        found[row.agency or None, row.sector or None, row.procedure or None] = counts
    return found


def _names(connection: Connection, directory: Agencies | None) -> Names:
    return Names(
        agencies=agency_names(connection, directory),
        procedures=code_names(connection, CodeList.PROCEDURE),
    )
