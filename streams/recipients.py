"""Who gets which mail: the province's addresses from the settings, those of units from a file. One mail a list."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.dossier.csv_table import Table, text_of

COLUMNS = ("agency", "address")

NOBODY = "nobody to send to: set THONGSUOT_MAIL__TO or THONGSUOT_REFERENCE__RECIPIENTS_FILE"
"""What is said where neither names anybody."""

ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*"
)
"""An address as a mail server takes it without extensions: no name beside it, ASCII only."""


@dataclass(frozen=True, slots=True)
class Recipients:
    """One list of addresses, in order, and the units that its mail is about; None: all of the province."""

    addresses: tuple[str, ...]
    agencies: tuple[str, ...] | None

    @property
    def label(self) -> str:
        """For people and logs, without addresses."""
        return "province" if self.agencies is None else ",".join(self.agencies)


def parse_addresses(text: str) -> tuple[str, ...]:
    """The addresses of a setting, separated by commas. Raises `ValueError`, which quotes none."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    for place, address in enumerate(found, start=1):
        if not ADDRESS.fullmatch(address):
            raise ValueError(f"address {place} is not written as name@domain")
    return tuple(dict.fromkeys(found))


def read_recipients(path: Path, agencies: Collection[str]) -> dict[str, set[str]]:
    """The addresses by agency code: a CSV with the columns agency,address, one address a line.

    `agencies` are the codes that the ledger knows; none of them, nothing is compared. Raises `TableError` with
    everything that is wrong: an address that is none, an agency that nobody knows.
    """
    table = Table(text_of(path), str(path), COLUMNS)
    found: dict[str, set[str]] = defaultdict(set)
    for row in table.rows:
        agency = row.needed(
            "agency",
            lambda code: code if not agencies or code in agencies else None,
            "ghi mã cơ quan như trong sổ cái (mã gửi lên Cổng)",
            "write an agency's code as the ledger has it (as the portal is told)",
        )
        address = row.needed(
            "address",
            lambda text: text if ADDRESS.fullmatch(text) else None,
            "ghi một địa chỉ thư dạng ten@mien.gov.vn, mỗi địa chỉ một dòng",
            "write one address as name@domain, each on a line of its own",
        )
        if agency is not None and address is not None:
            found[agency].add(address)
    table.finish()
    return dict(found)


def lists(province: Iterable[str], units: dict[str, set[str]]) -> Sequence[Recipients]:
    """One list for each set of addresses: units with the same addresses share a mail, and the province's list
    has everything already."""
    whole = frozenset(province)
    agencies: dict[frozenset[str], list[str]] = defaultdict(list)
    for agency in sorted(units):
        agencies[frozenset(units[agency])].append(agency)
    agencies.pop(whole, None)
    found = [Recipients(tuple(sorted(whole)), None)] if whole else []
    return [
        *found,
        *(Recipients(tuple(sorted(who)), tuple(codes)) for who, codes in agencies.items()),
    ]
