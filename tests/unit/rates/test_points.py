"""Shares and points: the last digit, the empty denominators, what is known and what is shown."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rates.catalogue import Rate, packaged
from monitoring.rates.points import Count, Figure, half_up, known, share, shown, term_points, total

D = Decimal
NOTHING = Figure(None, None)


def rate(code: str) -> Rate:
    return packaged().versions(code)[-1]


def counts(code: str, *pairs: tuple[Count | None, Count | None]) -> dict[str, Count | None]:
    """The counts of a rate's terms, numerator and denominator each."""
    found: dict[str, Count | None] = {}
    for term, (numerator, denominator) in zip(rate(code).terms, pairs, strict=True):
        found |= {term.numerator: numerator, term.denominator: denominator}
    return found


# --- the last digit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numerator", "denominator", "wanted"),
    [
        (1, 3, "33.33"),
        (2, 3, "66.67"),
        (1, 800, "0.13"),  # 0.125 is a double: both arithmetics agree
        (3, 4000, "0.08"),  # 0.075 is none: in double it would be 0.07
        (201, 20000, "1.01"),
        (0, 7, "0"),
        (7, 7, "100"),
        (8, 7, "114.29"),
        (1, 10**12, "0"),
    ],
)
def test_a_share_is_rounded_half_up_on_its_exact_value(
    numerator: int, denominator: int, wanted: str
) -> None:
    assert share(numerator, denominator) == D(wanted)


@pytest.mark.parametrize(
    ("rounded", "weight", "full_at", "wanted", "otherwise"),
    [
        ("98.75", 6, 100, "5.92", "5.93 in decimal: a published row"),
        ("42.25", 2, 100, "0.84", "0.85 in decimal: a published row"),
        ("0.60", 2, 80, "0.01", "0.02 in decimal"),
        ("1.25", 6, 100, "0.07", "0.08 when first divided, then multiplied"),
        ("2.75", 6, 100, "0.17", "0.16 when weight / full_at comes first"),
        ("8.75", 2, 100, "0.17", "0.18 when weight / full_at comes first"),
        ("1.80", 2, 80, "0.04", "0.05 when weight / full_at comes first"),
        ("79.99", 2, 80, "2.00", "below the threshold"),
        ("79.79", 2, 80, "1.99", "below the threshold"),
        ("80", 2, 80, "2", "at it"),
        ("80.01", 2, 80, "2", "above it: no more than the weight"),
        ("89.99", 6, 90, "6.00", "below the threshold, rounded up"),
        ("90.46", 6, 90, "6", "above it"),
        ("114.29", 20, 100, "20", "more than all"),
    ],
)
def test_points_are_made_in_double_in_the_portals_order(
    rounded: str, weight: int, full_at: int, wanted: str, otherwise: str
) -> None:
    assert term_points(D(rounded), D(weight), D(full_at)) == D(wanted), otherwise


@given(st.floats(min_value=0, max_value=1e6), st.integers(min_value=0, max_value=4))
def test_half_up_is_that_of_the_exact_binary_value(value: float, decimals: int) -> None:
    assert half_up(value, decimals) == D(value).quantize(D(1).scaleb(-decimals), ROUND_HALF_UP)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([(6, 100), (2, 80), (6, 90)]))
def test_points_stay_between_nothing_and_the_weight_and_grow_with_the_share(
    numerator: int, denominator: int, worth: tuple[int, int]
) -> None:
    weight, full_at = map(D, worth)
    less = term_points(share(numerator - 1, denominator), weight, full_at)
    more = term_points(share(numerator, denominator), weight, full_at)
    assert 0 <= less <= more <= weight
    assert (more == weight) or numerator < denominator


# --- empty denominators ----------------------------------------------------------------------------

EMPTY = [
    ("PUBLISH_ON_TIME", None, None),
    ("PUBLIC_UPDATE_ON_TIME", None, None),
    ("PUBLIC_CONTENT_FULL", None, None),
    ("DOSSIER_SYNC", None, None),
    ("ORIGINAL_RESULT_AVAILABLE", None, None),
    ("SO_HOA_GIAY_TO_GIAI_QUYET", None, None),
    ("SYNCED_WITH_DVCQG_PERSONAL_STORAGE", None, None),
    ("REUSED_DIGITIZED_DATA", None, None),
    ("CITIZEN_DATA_CONNECTED_DOSSIER", None, None),
    ("CITIZEN_DATA_CONNECTED_FORMALITY", None, None),
    ("ELECTRONIC_CERTIFIED_COPY", "100", "2"),
    ("on_time", "0", "0"),
    ("PETITION_PROCESSING_ON_TIME", "0", "6"),
    ("PETITION_HANDLING_SATISFACTION", "0", "6"),
    ("PETITION_CLASSIFICATION_TTHC", "0", None),
    ("PETITION_CLASSIFICATION_STAFF", "0", None),
    ("DOSSIER_RECEIVING_SATISFACTION", "0", "0"),
    ("channelOnlineSum/channelTotalSum", None, None),
]


@pytest.mark.parametrize("pair", [(0, 0), (None, None), (0, None), (3, 0)], ids=str)
@pytest.mark.parametrize(("code", "ratio", "score"), EMPTY, ids=[one[0] for one in EMPTY])
def test_an_empty_denominator_is_unknown_to_us_and_shown_as_the_service_does(
    code: str, ratio: str | None, score: str | None, pair: tuple[int | None, int | None]
) -> None:
    given_ = counts(code, pair)
    assert known(rate(code), given_) == NOTHING
    assert shown(rate(code), given_) == Figure(
        None if ratio is None else D(ratio), None if score is None else D(score)
    )


@pytest.mark.parametrize("code", ["on_time", "DOSSIER_SYNC", "PETITION_PROCESSING_ON_TIME"])
def test_an_unknown_numerator_stays_unknown_and_is_not_taken_for_an_empty_denominator(
    code: str,
) -> None:
    given_ = counts(code, (None, 5))
    assert known(rate(code), given_) == NOTHING
    assert shown(rate(code), given_) == NOTHING


def test_a_quantity_that_was_forgotten_is_an_error_and_not_unknown() -> None:
    with pytest.raises(KeyError, match="received_and_carried_over"):
        known(rate("on_time"), {"on_time_or_within_time": 5})


def test_where_the_portal_shows_no_ratio_the_hub_knows_it_all_the_same() -> None:
    code = "channelOnlineSum/channelTotalSum"
    given_ = counts(code, (150956, 152595))
    assert known(rate(code), given_) == Figure(D("98.93"), None)
    assert shown(rate(code), given_) == NOTHING


def test_a_rate_for_tracking_has_a_ratio_and_no_score() -> None:
    code = "PETITION_CLASSIFICATION_TTHC"
    for read in (known, shown):
        assert read(rate(code), counts(code, (179, 247))) == Figure(D("72.47"), None)


def test_certified_copies_with_counts_are_scored_like_the_others() -> None:
    code = "ELECTRONIC_CERTIFIED_COPY"  # inferred: no counts were ever published
    assert shown(rate(code), counts(code, (5, 8))) == Figure(D("62.5"), D("1.25"))


# --- rates of several terms, and products ----------------------------------------------------------

PAYMENT = [
    # the three terms by hand: paid / obliged (6), paid online / fee (2, full at 80), synced / fee (2, same)
    ("all", [(3, 4), (2, 4), (1, 5)], "62.5", "6.25"),  # 4.50 + 1.25 + 0.50
    ("full", [(9, 9), (8, 10), (10, 10)], "100", "10"),
    ("no obligation, no fee procedure", [(0, 0), (0, 0), (0, 0)], "0", "0"),
    ("no obligation, nothing paid or synced", [(0, 0), (0, 3), (0, 3)], "0", "0"),
    # Inferred for a whole unit: the other terms count. Seen of a unit filtered by one procedure.
    ("no obligation, fee procedures", [(0, 0), (7, 8), (0, 8)], "20", "2"),
    ("no obligation, both others", [(None, None), (15, 53), (14, 53)], "13.7", "1.37"),
    ("no fee procedures", [(1, 2), (0, 0), (0, 0)], "30", "3"),  # inferred likewise
]


@pytest.mark.parametrize(
    ("pairs", "ratio", "score"), [one[1:] for one in PAYMENT], ids=[one[0] for one in PAYMENT]
)
def test_a_payments_score_is_the_sum_of_its_terms_and_its_ratio_ten_times_that(
    pairs: list[tuple[int | None, int | None]], ratio: str, score: str
) -> None:
    figure = Figure(D(ratio), D(score))
    given_ = counts("online_payment", *pairs)
    assert shown(rate("online_payment"), given_) == figure
    complete = all(denominator for _, denominator in pairs)
    assert known(rate("online_payment"), given_) == (figure if complete else NOTHING)


@pytest.mark.parametrize(
    ("synced", "received", "wanted"),
    [(80, 100, "48"), (100, 100, "60"), (None, 100, None), (80, 0, None)],
)
def test_online_submission_is_multiplied_by_the_rate_of_synchronisation(
    synced: int | None, received: int, wanted: str | None
) -> None:
    found = known(
        rate("online_submission"),
        {
            "online_with_electronic_result": 60,
            "received_in_period": 100,
            "synced_received_in_period": synced,
            "received_in_period_larger": received,
        },
    )
    assert found == Figure(None if wanted is None else D(wanted), None)


@pytest.mark.parametrize(
    ("synced", "received", "ratio", "score"),
    [
        (99, 100, "99", "5.94"),
        (100, 100, "100", "6"),
        (101, 100, "101", "6"),  # inferred: the ratio goes on, the points stop
        (2, Fraction(5, 2), "80", "4.8"),  # a part of last year's report
    ],
)
def test_synchronisation_below_at_and_above_its_denominator(
    synced: int, received: Count, ratio: str, score: str
) -> None:
    given_ = counts("DOSSIER_SYNC", (synced, received))
    assert shown(rate("DOSSIER_SYNC"), given_) == Figure(D(ratio), D(score))


def test_in_a_total_what_is_not_shown_counts_as_nothing_and_the_maximum_stays() -> None:
    assert total([None, None, D("1.96"), D(6)], D(18)) == Figure(D("44.22"), D("7.96"))
    assert total([None], D(18)) == Figure(D(0), D(0))
    assert total([], D(0)) == Figure(None, D(0))
