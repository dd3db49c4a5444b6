"""Late effects, as the truth tells them: what came when, after which later calls, and who could see it.

A call is late when more than a bound lies between its arrival and the decision on it. What nobody decided
(yet) is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.national_portal.simulator.truth import STATE_KINDS, Truth

_STREAMS = {"create": "state", "update": "state", "steps": "steps"}


def late_effects(truth: Truth, bound: float) -> list[dict[str, Any]]:
    """Every write that was decided more than `bound` seconds after it came, in order of arrival.

    Of each: how many writes about the dossier came in between (`later_calls`), how many of them were
    granted on the same stream (`overtaken`), whether a look-up right after it shows anything else than one
    right before (`shown`, by what a look-up may tell), how many of its steps another call brought too
    (`doubled`), and when another call changed the state after it (`mended_at`, or null).
    """
    return [
        _told(call, code, truth.calls(code=code, limit=100_000), truth.effects_of(code))
        for call in truth.decided_late(bound)
        for code in call["codes"]
    ]


def _told(
    call: Mapping[str, Any],
    code: str,
    calls: Sequence[Mapping[str, Any]],
    effects: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    stream = _STREAMS[call["operation"]]
    between = [
        other
        for other in calls
        if other["call"] > call["call"]
        and other["at"] < call["decided_at"]
        and other["operation"] in _STREAMS
    ]
    granted = [
        other
        for other in between
        if _STREAMS[other["operation"]] == stream
        and other["verdict"] == "done"
        and other["decided_at"] < call["decided_at"]
    ]
    mine = [each for each in effects if each["call"] == call["call"]]
    first = mine[0]["effect"] if mine else 0
    before = [each for each in effects if each["effect"] < first]
    states = [each["known"] for each in before if each["kind"] in STATE_KINDS]
    steps = [
        each["known"] for each in effects if each["kind"] == "step" and each["call"] != call["call"]
    ]
    my_states = [each["known"] for each in mine if each["kind"] in STATE_KINDS]
    born = bool(my_states) and not states
    other_state = bool(my_states) and (born or my_states[-1] != states[-1])
    my_steps = [each["known"] for each in mine if each["kind"] == "step"]
    mended = [
        each["at"]
        for each in effects
        if my_states and each["effect"] > mine[-1]["effect"] and each["kind"] in STATE_KINDS
    ]
    return {
        "call": call["call"],
        "code": code,
        "operation": call["operation"],
        "trouble": call["trouble"],
        "label": call["label"],
        "at": call["at"],
        "decided_at": call["decided_at"],
        "verdict": call["verdict"],
        "effects": len(mine),
        "later_calls": len(between),
        "overtaken": len(granted),
        "shown": {
            "existence": born,
            "state": other_state,
            "steps": other_state or bool(my_steps),
        },
        "doubled": sum(known in steps for known in my_steps),
        "mended_at": mended[0] if mended else None,
    }
