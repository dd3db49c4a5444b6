"""The face that documents are set in, and how wide and how tall a text is in it.

Tinos has the measures of Times New Roman (Decree 30/2020/NĐ-CP asks for it), every letter of Vietnamese, and a free
licence (`fonts/OFL.txt`); it is packaged, so that no machine's own fonts are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache, lru_cache
from importlib import resources

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

MILLIMETRE = 72 / 25.4
"""In points."""


class Face(StrEnum):
    """The styles, by the name under which a PDF knows them."""

    REGULAR = "Tinos-Regular"
    BOLD = "Tinos-Bold"
    ITALIC = "Tinos-Italic"


@cache
def load() -> Mapping[Face, TTFont]:
    """Read the packaged fonts, once in a process, and let PDFs know them."""
    folder = resources.files(__package__) / "fonts"
    fonts = {}
    for face in Face:
        with resources.as_file(folder / f"{face}.ttf") as file:
            fonts[face] = TTFont(face.value, str(file))
        pdfmetrics.registerFont(fonts[face])
    return fonts


def width(text: str, face: Face, size: float) -> float:
    """In points, of a composed text at a size in points."""
    drawn = load()[face].face
    # Letter by letter in a dictionary: a form of thousands of rows asks for a million widths.
    widths, default = drawn.charWidths, drawn.defaultWidth
    return float(sum([widths.get(ord(letter), default) for letter in text]) * size / 1000)


@lru_cache(maxsize=8192)  # names come again, in every unit
def wrapped(text: str, face: Face, size: float, room: float) -> tuple[str, ...]:
    """The lines of a composed text in a width in points; a word that is wider than that is broken. At least one."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if width(longer, face, size) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _broken(word, face, size, room)
        lines += full
    return (*lines, line)


def _broken(word: str, face: Face, size: float, room: float) -> list[str]:
    parts = [""]
    for letter in word:
        if parts[-1] and width(parts[-1] + letter, face, size) > room:
            parts.append("")
        parts[-1] += letter
    return parts
