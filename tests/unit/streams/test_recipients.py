"""Who gets which mail: one list for each set of addresses, and every fault of the file with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.dossier.csv_table import TableError
from streams.recipients import Recipients, lists, parse_addresses, read_recipients

KNOWN = frozenset({"H12.01", "H12.02"})


def written(folder: Path, *lines: str) -> Path:
    file = folder / "recipients.csv"
    file.write_text("\n".join(("agency,address", *lines)) + "\n", encoding="utf-8")
    return file


def test_a_unit_may_have_several_addresses(tmp_path: Path) -> None:
    file = written(tmp_path, "H12.01,a@x.vn", "H12.02,b@x.vn", "H12.01,b@x.vn", "H12.01,a@x.vn")
    assert read_recipients(file, KNOWN) == {"H12.01": {"a@x.vn", "b@x.vn"}, "H12.02": {"b@x.vn"}}


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, "H12.09,a@x.vn", "H12.01,Nguyen <a@x.vn>", ",b@x.vn", "H12.02,")
    with pytest.raises(TableError) as refused:
        read_recipients(file, KNOWN)
    assert [(p.line, p.column) for p in refused.value.problems] == [
        (2, "agency"),
        (3, "address"),
        (4, "agency"),
        (5, "address"),
    ]


def test_before_the_ledger_knows_agencies_none_is_wrong(tmp_path: Path) -> None:
    assert read_recipients(written(tmp_path, "H12.09,a@x.vn"), ()) == {"H12.09": {"a@x.vn"}}


@pytest.mark.parametrize(
    ("province", "units", "expected"),
    [
        pytest.param((), {}, [], id="nobody"),
        pytest.param(("p@x",), {}, [Recipients(("p@x",), None)], id="the province alone"),
        pytest.param(
            ("q@x", "p@x"),
            {"H12.02": {"a@x"}, "H12.01": {"a@x"}, "H12.03": {"a@x", "b@x"}},
            [
                Recipients(("p@x", "q@x"), None),
                Recipients(("a@x",), ("H12.01", "H12.02")),
                Recipients(("a@x", "b@x"), ("H12.03",)),
            ],
            id="units with the same addresses share a mail",
        ),
        pytest.param(
            ("p@x",),
            {"H12.01": {"p@x"}},
            [Recipients(("p@x",), None)],
            id="who gets the whole gets no part of it",
        ),
    ],
)
def test_one_list_for_each_set_of_addresses(
    province: tuple[str, ...], units: dict[str, set[str]], expected: list[Recipients]
) -> None:
    assert lists(province, units) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("a@x.vn", ("a@x.vn",)), (" a@x.vn ,b@x.vn,, a@x.vn", ("a@x.vn", "b@x.vn"))],
)
def test_addresses_of_a_setting(text: str, expected: tuple[str, ...]) -> None:
    assert parse_addresses(text) == expected


@pytest.mark.parametrize(
    "text", ["nobody", "a@", "@x", "a b@x", "a@x\r\nBcc: b@x", "A <a@x>", "á@x", "a@x;b@x"]
)
def test_what_is_no_address_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="address 1 ") as refused:
        parse_addresses(text)
    assert text not in str(refused.value)
