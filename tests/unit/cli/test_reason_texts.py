"""People read words, not keys."""

from __future__ import annotations

from schemas.reasons import Reason
from streams.reason_texts import TEXTS, in_words


def test_every_reason_has_its_words_in_both_languages() -> None:
    assert set(TEXTS) == set(Reason)
    assert all(vi and en and vi != en for vi, en in TEXTS.values())


def test_no_two_reasons_read_alike() -> None:
    assert len({vi for vi, _ in TEXTS.values()}) == len(TEXTS)
    assert in_words("unmapped")[0] == "mã chưa được ánh xạ"
