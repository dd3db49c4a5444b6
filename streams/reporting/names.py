"""Names of the codes in a report, as the directory of agencies and the code mappings have them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from schemas.dossier.agencies import Agencies
from schemas.dossier.mappings import CodeList
from schemas.ledger.tables import mappings


def agency_names(connection: Connection, directory: Agencies | None) -> Mapping[str, str]:
    """By code; the directory's name goes before that of a mapping."""
    named = dict(code_names(connection, CodeList.AGENCY))
    if directory is not None:
        listed = ((code, directory.name(code)) for code in sorted(directory.codes))
        named |= {code: name for code, name in listed if name is not None}
    return named


def code_names(connection: Connection, codelist: CodeList) -> Mapping[str, str]:
    """By canonical code, of those that a mapping names; the newest mapping has the say."""
    table = mappings.c
    query = (
        select(table.value, table.name)
        .where(table.codelist == codelist.value, table.name.is_not(None))
        .order_by(table.mapping_id)
    )
    return {row.value: row.name for row in connection.execute(query)}
