"""The clear fields of a dossier's newest state, as the `dossiers` table keeps them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.ledger.model import Enlistment
from schemas.records import DossierEvent, EventKind


def dossier_rows(
    old: Mapping[str, Mapping[str, Any]], batch: Sequence[Enlistment]
) -> dict[str, dict[str, Any]]:
    """The row of every dossier in the batch, given the rows that are there.

    The newest state wins by version, then by place in the log. A gap says nothing of the state.
    Every row is due to be reckoned anew.
    """
    rows = {dossier_id: dict(row) for dossier_id, row in old.items()}
    for item in batch:
        event = item.event
        row = rows.get(event.dossier_id)
        if row is None:
            rows[event.dossier_id] = _row(event, item.log_pos)
        elif event.kind is not EventKind.GAP and (event.read_seq, item.log_pos) >= (
            row["state_version"],
            row["log_pos"],
        ):
            # Where a dossier was born does not change, whatever a later reading leaves out.
            born = row["born_on_portal"] or event.born_on_portal
            rows[event.dossier_id] = _row(event, item.log_pos) | {"born_on_portal": born}
    return {dossier_id: row | {"figures_due": True} for dossier_id, row in rows.items()}


def _row(event: DossierEvent, log_pos: int) -> dict[str, Any]:
    times = event.times
    return {
        "dossier_id": event.dossier_id,
        "source": event.source,
        "code": event.dossier_code or None,
        "state_version": -1 if event.kind is EventKind.GAP else event.read_seq,
        "log_pos": log_pos,
        "born_on_portal": event.born_on_portal,
        "procedure_code": event.procedure.national_code,
        "local_procedure_code": event.procedure.local_code,
        "sector_code": event.sector.code,
        "receiving_agency_code": event.receiving_agency.code,
        "handling_agency_code": event.handling_agency.code,
        "channel": _word(event.channel),
        "applicant_type": _word(event.applicant_type),
        "status": event.business_state.status,
        "sub_status": event.business_state.sub_status,
        "financial_state": _word(event.financial_state),
        "result_state": _word(event.result_state),
        "created_at": times.created,
        "submitted_at": times.submitted,
        "received_at": times.received,
        "due_at": times.due,
        "extended_at": times.extended,
        "finished_at": times.finished,
        "returned_at": times.returned,
        "withdrawn_at": times.withdrawn,
        "refused_at": times.refused,
    }


def _word(value: Any) -> str | None:
    return None if value is None else str(value.value)
