"""What has to be said about the figures of a period: why one is unknown or provisional, what a unit consists of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from monitoring.rates.catalogue import Catalogue, Words
from monitoring.rates.dossier_counts import PROVISIONAL, TOLD_ELSEWHERE, UnitCounts
from monitoring.rates.step_counts import StepCounts
from monitoring.rates.sync import Basis
from monitoring.rates.sync_inputs import SyncInputs
from schemas.dossier.agencies import Agencies


class Note(StrEnum):
    """What has to be said about a figure or a unit."""

    PROVISIONAL = "provisional"  # a count whose meaning is told in one source only
    UNKNOWN = "unknown"  # of some dossiers the fact is not known
    NOT_COUNTED = "not_counted"  # dossiers do not tell a quantity
    NOT_IN_FORCE = "not_in_force"
    SYNC_BASE = "sync_base"  # what the denominator of the rate of synchronisation rests on
    STEPS = "steps"
    UNJUDGED = "unjudged"
    MERGED = "merged"
    CLOSED = "closed"
    UNLISTED = "unlisted"  # the directory does not have the agency
    UNMAPPED = "unmapped"  # the dossiers' agency has no code


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that has to be said; `provisional` means that the figure may still change for that reason."""

    note: Note
    words: Words
    provisional: bool = False

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "note": self.note.value,
            "provisional": self.provisional,
            **self.words.model_dump(),
        }


# --- a figure ----------------------------------------------------------------------------------------


def about(
    rules: Catalogue,
    names: Sequence[str],
    counts: UnitCounts,
    without: Collection[str],
) -> Iterator[Remark]:
    """What has to be said about the quantities `names`, of which nothing tells those in `without`."""
    for name in names:
        quantity = rules.quantities[name]
        if name in without:
            why = TOLD_ELSEWHERE.get(name, "dossiers do not tell it")
            yield Remark(
                Note.NOT_COUNTED,
                Words(
                    vi=f"chưa có số liệu: {quantity.vi} (hồ sơ không cho biết)",
                    en=f"no figure yet: {quantity.en} ({why})",
                ),
            )
        if counts.unknown.get(name):
            number = counts.unknown[name]
            yield Remark(
                Note.UNKNOWN,
                Words(
                    vi=f"{number} hồ sơ chưa rõ có phải: {quantity.vi}; Cổng không tính những hồ sơ này",
                    en=f"of {number} dossiers it is not known whether they are: {quantity.en}; the portal does not count them",
                ),
            )
        if name in PROVISIONAL:
            yield Remark(
                Note.PROVISIONAL,
                Words(
                    vi=f"số tạm: {quantity.vi} đếm theo hồ sơ tiếp nhận trong kỳ, Cổng có thể đếm khác",
                    en=f"provisional: {quantity.en}, counted over those received in the period; the portal may count otherwise",
                ),
                provisional=True,
            )


NOT_IN_FORCE = Remark(
    Note.NOT_IN_FORCE,
    Words(
        vi="chưa rõ cách tính này có áp dụng cho kỳ này",
        en="this rule is not known to be in force for the period",
    ),
)

_RESTS_ON = {
    Basis.PORTAL: Words(vi="theo số của Cổng", en="rests on the portal's count"),
    Basis.REPORT: Words(
        vi="theo số của Hệ thống báo cáo", en="rests on the reporting system's count"
    ),
    Basis.LAST_YEAR: Words(
        vi="lấy từ báo cáo năm trước, chia theo kỳ",
        en="rests on last year's report, divided among its periods",
    ),
    Basis.NOTHING: Words(vi="chưa biết", en="is not known"),
}


def about_base(inputs: SyncInputs) -> Remark:
    """What the denominator of the rate of synchronisation rests on, with day, source and mark."""
    base = inputs.known or inputs.shown
    rests = _RESTS_ON[base.basis]
    used = {
        Basis.PORTAL: inputs.portal,
        Basis.REPORT: inputs.report,
        Basis.LAST_YEAR: inputs.last_year,
    }.get(base.basis)
    missing = [
        words
        for told, words in (
            (inputs.portal, Words(vi="Cổng", en="the portal")),
            (inputs.report, Words(vi="Hệ thống báo cáo", en="the reporting system")),
        )
        if told is None
    ]
    vi, en = f"mẫu số {rests.vi}", f"the denominator {rests.en}"
    if used is not None:
        vi += f": {used.count} (kỳ {used.period}, số liệu ngày {used.as_of:%d/%m/%Y}, nguồn {used.source})"
        en += f": {used.count} (period {used.period}, as of {used.as_of}, source {used.source})"
    elif base.basis is Basis.PORTAL:
        vi += ", lấy bằng số hồ sơ Cổng đã nhận từ trục"
        en += ", taken to be the dossiers that it is known to hold"
    if missing:
        vi += f"; chưa có số liệu của {' và '.join(words.vi for words in missing)}"
        en += f"; no figure yet of {' and '.join(words.en for words in missing)}"
    vi, en = (
        f"{vi}; số tạm, Cổng đánh dấu {base.flag}",
        f"{en}; provisional, the portal's mark: {base.flag}",
    )
    return Remark(Note.SYNC_BASE, Words(vi=vi, en=en), provisional=True)


def about_steps(steps: StepCounts) -> Remark:
    """How many steps were in time: the rate itself counts dossiers."""
    return Remark(
        Note.STEPS,
        Words(
            vi=f"{steps.in_time}/{steps.steps} bước tiến trình của kỳ đến Cổng đúng hạn; {steps.late_dossiers} hồ sơ có bước chậm",
            en=f"{steps.in_time} of {steps.steps} steps of the period reached the portal in time; {steps.late_dossiers} dossiers have a late one",
        ),
    )


def unjudged(number: int) -> Remark:
    """That so many dossiers are in no count of progress."""
    return Remark(
        Note.UNJUDGED,
        Words(
            vi=f"{number} hồ sơ chưa đọc được tiến trình nên không tính",
            en=f"{number} dossiers are in no count of progress: their life could not be read",
        ),
    )


# --- a unit ------------------------------------------------------------------------------------------


def about_unit(directory: Agencies, code: str, on: date) -> Iterator[Remark]:
    """Who was merged into an agency, and whether it is there at all on the day."""
    merged = directory.merged_into(code, on)
    if merged:
        names = ", ".join(f"{one} ({directory.name(one)})" for one in merged)
        yield Remark(
            Note.MERGED,
            Words(vi=f"gồm cả đơn vị đã sáp nhập: {names}", en=f"with merged units: {names}"),
        )
    if not directory.is_there(code, on):
        yield Remark(
            Note.CLOSED,
            Words(
                vi=f"ngày {on:%d/%m/%Y} đơn vị không tồn tại", en=f"is not there on {on:%Y-%m-%d}"
            ),
        )


UNLISTED = Remark(
    Note.UNLISTED,
    Words(vi="không có trong danh mục cơ quan", en="is not in the directory of agencies"),
)
UNMAPPED = Remark(
    Note.UNMAPPED,
    Words(vi="cơ quan của hồ sơ chưa có mã ánh xạ", en="the dossiers' agency has no mapping"),
)
