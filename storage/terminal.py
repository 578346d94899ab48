"""Output that any terminal and pipe can take, whatever its encoding."""

from __future__ import annotations

import codecs
import io
import sys

_LOOKALIKES = str.maketrans(
    {
        "–": "-",
        "—": "-",
        "‒": "-",
        "−": "-",
        "…": "...",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "±": "+/-",
        "×": "x",
        "→": "->",
        "≥": ">=",
        "≤": "<=",
        "·": "*",
        "•": "*",
        "✓": "v",
        "━": "-",
        "─": "-",
        "│": "|",
        "╸": "-",
        "╺": "-",
    }
)


def print_anything() -> None:
    """Let this process print any text: a character that the terminal's encoding lacks is written as one like it, else
    as `\\u54c1`. To be called where a command begins."""
    codecs.register_error("lookalike", _lookalike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="lookalike")


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_LOOKALIKES)
    return "".join(c if c.isascii() else _escaped(c) for c in text), error.end


def _escaped(character: str) -> str:
    """As JSON writes it, so that JSON stays JSON; half a character, which a damaged file name may hold, as a mark."""
    if 0xD800 <= ord(character) <= 0xDFFF:
        return "?"
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[k : k + 2].hex()}" for k in range(0, len(units), 2))
