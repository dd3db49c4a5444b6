"""The catalogue: what it promises, what it refuses by code and field, versions by date."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rates.catalogue import CatalogueError, UnknownRate, packaged, read
from monitoring.rates.reckoning import Rules, comparison_on
from schemas.dossier.mappings import Codes
from schemas.dossier.timeline import Comparison
from tests.unit.dossier.samples import CALENDAR

SMALL = """
[quantities.done]
vi = "xong"
en = "done"
counts = "dossiers"
[quantities.all]
vi = "tất cả"
en = "all"
counts = "dossiers"
[blocks.one]
vi = "một"
en = "one"
maximum = 60
[blocks.two]
vi = "hai"
en = "two"
maximum = 40
[[rates]]
code = "a"
version = 1
vi = "tỷ lệ a"
en = "rate a"
block = "one"
ratio = "share"
effective_from = 2022-06-23
source = "QĐ"
certainty = "described"
[[rates.terms]]
numerator = "done"
denominator = "all"
weight = 60
[[rates]]
code = "b"
version = 1
vi = "tỷ lệ b"
en = "rate b"
block = "two"
ratio = "share"
source = "QĐ"
certainty = "described"
[[rates.terms]]
numerator = "done"
denominator = "all"
weight = 40
"""
"""Two blocks and two rates, nothing more than is needed."""


def changed(*changes: tuple[str, str]) -> str:
    """The small catalogue with texts replaced where they stand first."""
    text = SMALL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


# --- what it promises --------------------------------------------------------------------------------


def test_the_packaged_catalogue_has_the_six_blocks_with_their_maxima() -> None:
    blocks = packaged().blocks
    assert {code: int(block.maximum) for code, block in blocks.items()} == {
        "transparency": 18,
        "dvc-progress-tree": 20,
        "provide-online-tree": 12,
        "formality-online-payment-tree": 10,
        "handling-satisfaction": 18,
        "dossier-digitized": 22,
    }
    assert [code for code, block in blocks.items() if not block.reproducible] == [
        "provide-online-tree"
    ]


@pytest.mark.parametrize(
    ("day", "comparison"),
    [
        (date(2026, 12, 31), Comparison.TIMESTAMP),
        (date(2027, 1, 1), Comparison.DATE),
        (None, Comparison.DATE),
        (date(2020, 1, 1), Comparison.DATE),  # none is in force: the newest
    ],
)
def test_a_dossier_is_judged_by_the_comparison_of_the_version_in_force(
    day: date | None, comparison: Comparison
) -> None:
    (first,) = packaged().versions("on_time")
    second = {"version": 2, "compared_by": "date", "effective_from": date(2027, 1, 1)}
    versions = (
        first.model_copy(update={"effective_to": date(2026, 12, 31)}),
        first.model_copy(update=second),
    )
    rates = (*versions, *(one for one in packaged().rates if one.code != "on_time"))
    assert comparison_on(packaged().model_copy(update={"rates": rates}), day) is comparison


def test_the_rules_compare_as_the_newest_version_says() -> None:
    rules = Rules(codes=Codes(), calendar=CALENDAR, calendar_name="samples")
    newest = packaged().versions("on_time")[-1].compared_by
    assert newest is not None
    assert (rules.comparison is Comparison.TIMESTAMP) is (newest == "time")


@pytest.mark.parametrize(
    ("code", "denominator"),
    [
        ("DOSSIER_SYNC", "received_in_period_larger"),
        ("DOSSIER_SYNC_IN_TIME", "handled_in_period"),
        ("on_time", "received_and_carried_over"),
        ("DOSSIER_RECEIVING_SATISFACTION", "received_and_carried_over"),
        ("ORIGINAL_RESULT_AVAILABLE", "received_and_carried_over"),
        ("channelOnlineSum/channelTotalSum", "channel_total"),
        ("online_submission", "received_in_period"),
        ("CITIZEN_DATA_CONNECTED_FORMALITY", "procedures_for_citizens"),
    ],
)
def test_every_received_has_a_name_of_its_own(code: str, denominator: str) -> None:
    (rate,) = packaged().versions(code)
    assert rate.terms[0].denominator == denominator


@pytest.mark.parametrize(
    ("code", "weights", "full_at"),
    [
        ("on_time", [20], [100]),
        ("online_payment", [6, 2, 2], [100, 80, 80]),
        ("REUSED_DIGITIZED_DATA", [2], [80]),
        ("DOSSIER_RECEIVING_SATISFACTION", [6], [90]),
        ("SO_HOA_GIAY_TO_GIAI_QUYET", [4], [100]),
        ("PETITION_CLASSIFICATION_STAFF", [0], [100]),
        ("DOSSIER_SYNC_IN_TIME", [None], [100]),
        ("online_submission", [None], [50]),
    ],
)
def test_what_a_rate_is_worth(code: str, weights: list[int | None], full_at: list[int]) -> None:
    (rate,) = packaged().versions(code)
    assert [term.weight for term in rate.terms] == weights
    assert [term.full_at for term in rate.terms] == full_at


def test_every_name_and_sentence_is_there_in_both_languages() -> None:
    catalogue = packaged()
    notes = [rate.note for rate in catalogue.rates if rate.note]
    texts = [*catalogue.quantities.values(), *catalogue.blocks.values(), *catalogue.rates, *notes]
    assert len(texts) > 80
    for text in texts:
        assert text.vi.strip()
        assert text.en.strip()
        assert text.vi != text.en


# --- mistakes ----------------------------------------------------------------------------------------

TERM = '[[rates.terms]]\nnumerator = "done"\ndenominator = "all"\nweight = 60\n'
COLUMNS = 'columns = { numerator = "x", denominator = "y" }\n'
IDLE = '[quantities.idle]\nvi = "x"\nen = "y"\ncounts = "dossiers"\n'

MISTAKES = [
    ("no TOML", 'code = "a"', "code = a", "no TOML"),
    ("no field", 'source = "QĐ"', "", "rate a: source: Field required"),
    ("no code", 'code = "a"', "", "rate number 1: code: Field required"),
    ("a key too many", "version = 1", "version = 1\nweight = 3", "rate a: weight: Extra inputs"),
    ("no such word", '"share"', '"part"', "rate a: ratio: Input should be 'share'"),
    ("no date", "2022-06-23", '"soon"', "rate a: effective_from: Input should be"),
    ("version 0", "version = 1", "version = 0", "rate a: version: Input should be"),
    ("negative", "weight = 60", "weight = -1", "rate a: terms.0.weight: Input should be"),
    ("full at 0", "weight = 60", "weight = 60\nfull_at = 0", "rate a: terms.0.full_at: Input"),
    ("full at 101", "weight = 60", "weight = 60\nfull_at = 101", "rate a: terms.0.full_at: Input"),
    ("no terms", TERM, "terms = []\n", "rate a: terms: Tuple should have at least 1 item"),
    ("by itself", 'r = "all"', 'r = "done"', "rate a: terms.0: done is divided by itself"),
    (
        "too generous",
        "weight = 60",
        "weight = 60\nwhen_empty = { score = 61 }",
        "rate a: terms.0: when_empty.score is above the weight",
    ),
    (
        "no such quantity",
        'numerator = "done"',
        'numerator = "x"',
        "rate a: terms.0: 'x' is not among the quantities",
    ),
    (
        "no such factor",
        "weight = 60",
        'weight = 60\ntimes = { numerator = "x", denominator = "all" }',
        "rate a: terms.0: 'x' is not among the quantities",
    ),
    ("no such block", '"one"\nratio', '"x"\nratio', "rate a: block: 'x' is not among the blocks"),
    ("idle", "[blocks.one]", IDLE + "[blocks.one]", "quantity idle: no rate counts it"),
    ("counts what", '"dossiers"', '"files"', "quantity done: counts: Input should be"),
    (
        "worth less",
        "weight = 60",
        "weight = 59",
        "block one: maximum: 60, but its rates are worth 59",
    ),
    (
        "not a hundred",
        "maximum = 40",
        "maximum = 41\nreproducible = false",
        "blocks: maximum: they are worth 101 together, not 100",
    ),
    (
        "ends before it begins",
        "2022-06-23",
        "2022-06-23\neffective_to = 2022-06-22",
        "rate a: effective_to lies before effective_from",
    ),
    (
        "ends, never begins",
        "effective_from",
        "effective_to",
        "rate a: effective_to lies before effective_from",
    ),
    ("a share of two terms", TERM, TERM + TERM, "rate a: ratio = 'share' needs exactly one term"),
]


@pytest.mark.parametrize(
    ("old", "new", "told"), [one[1:] for one in MISTAKES], ids=[one[0] for one in MISTAKES]
)
def test_a_mistake_is_named_with_code_and_field(old: str, new: str, told: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        read(changed((old, new)), "small")
    assert str(caught.value).startswith("small: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            [('"share"', '"of_score"'), ("weight = 60\n", "")],
            "rate a: ratio = 'of_score' needs a weight in every term",
        ),
        (
            [('"share"', '"share"\nmetrics_row = true'), (TERM, TERM + COLUMNS)],
            "rate a: metrics_row needs exactly one term, without columns of its own",
        ),
        (
            [('"share"', '"of_score"'), (TERM, TERM + TERM + COLUMNS)],
            "rate a: columns are given for some terms only",
        ),
        (
            [('code = "b"', 'code = "a"')],
            "rate a: version: 1 is given twice",
        ),
    ],
    ids=["worthless", "two tables", "half a table", "twice"],
)
def test_mistakes_of_more_than_one_line_are_named_too(
    changes: list[tuple[str, str]], told: str
) -> None:
    with pytest.raises(CatalogueError, match=told):
        read(changed(*changes), "small")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(CatalogueError) as caught:
        read(changed(("weight = 60", "weight = -1"), ('code = "b"', "")), "small")
    assert "rate a: terms.0.weight" in str(caught.value)
    assert "rate number 2: code" in str(caught.value)


# --- versions by date --------------------------------------------------------------------------------


def versions(first: str, second: str) -> str:
    """Rate a in two versions with these dates."""
    start, end = SMALL.index("[[rates]]"), SMALL.rindex("[[rates]]")
    whole = SMALL[start:end]
    one = whole.replace("effective_from = 2022-06-23", first)
    other = whole.replace("effective_from = 2022-06-23", second).replace(
        "version = 1", "version = 2"
    )
    return SMALL[:start] + one + other + SMALL[end:]


TWO = versions(
    "effective_from = 2022-06-23\neffective_to = 2025-06-30", "effective_from = 2025-08-01"
)


@pytest.mark.parametrize(
    ("on", "version"),
    [
        (date(2022, 6, 22), None),
        (date(2022, 6, 23), 1),
        (date(2025, 6, 30), 1),
        (date(2025, 7, 1), None),
        (date(2025, 7, 31), None),
        (date(2025, 8, 1), 2),
        (None, 2),
    ],
)
def test_a_day_has_the_version_that_was_in_force(on: date | None, version: int | None) -> None:
    found = read(TWO, "two").rate("a", on)
    assert (found.version if found else None) == version


def test_a_version_without_a_first_day_is_never_in_force_but_is_the_newest() -> None:
    catalogue = read(versions("effective_from = 2022-06-23", ""), "two")
    newest = catalogue.rate("a")
    assert newest is not None
    assert newest.version == 2
    for on in (date(2022, 6, 23), date(2100, 1, 1)):
        found = catalogue.rate("a", on)
        assert found is not None
        assert found.version == 1


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.dates(date(2020, 1, 1), date(2030, 1, 1)))
def test_versions_that_overlap_are_refused(end: date, start: date) -> None:
    text = versions(
        f"effective_from = 2020-01-01\neffective_to = {end}", f"effective_from = {start}"
    )
    if start > end:
        assert len(read(text, "two").versions("a")) == 2
    else:
        with pytest.raises(
            CatalogueError, match="rate a: effective_from: versions 1 and 2 overlap"
        ):
            read(text, "two")


def test_the_newer_wording_of_synchronisation_is_not_taken_to_be_in_force() -> None:
    catalogue = packaged()
    on = date(2026, 8, 31)
    in_force = [code for code in catalogue.codes if catalogue.rate(code, on)]
    assert set(catalogue.codes) - set(in_force) == {"DOSSIER_SYNC_IN_TIME"}
    assert catalogue.rate("online_payment", date(2025, 12, 31)) is None


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("ontime", "on_time"),
        ("ON_TIME", "on_time"),
        ("dossier_sync", "DOSSIER_SYNC"),
        ("PETITION_ON_TIME", "PETITION_PROCESSING_ON_TIME"),
    ],
)
def test_an_unknown_code_brings_up_those_that_look_like_it(code: str, near: str) -> None:
    with pytest.raises(UnknownRate) as caught:
        packaged().rate(code)
    assert near in caught.value.near


def test_a_code_like_no_other_brings_up_none() -> None:
    with pytest.raises(UnknownRate) as caught:
        packaged().rate("zzzz")
    assert caught.value.near == ()
