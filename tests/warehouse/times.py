"""Texts that may be times, and a parser of the closed list in docs/bring-your-own-log.md apart from the SQL."""

import datetime as dt
import random
from collections.abc import Iterator

DIGITS = frozenset("0123456789")
TOO_FINE = "too fine"
CYCLE_YEARS, CYCLE_DAYS = 400, 146_097  # the calendar repeats
EPOCH = dt.date(1970, 1, 1).toordinal()

# Pieces that a time may have, and pieces that it may not.
GOOD = {
    "before": ("", "", "", " ", "  "),
    "day": ("2024-03-01", "2024-3-1", "2024/3/1", "2024/03/01", "2024-3-01", "2024-02-29", "2000-02-29", "2024-12-31",
            "1970-01-01", "1969-12-31", "0001-01-01", "9999-12-31", "2038-1-19"),
    "between": ("T", " ", "  "),
    "clock": ("10:00", "9:05", "09:05", "0:00", "23:59:59", "0:00:00", "9:05:03", "10:00:00.2", "10:00:00.250000",
              "1:02:03.000001", "10:00:00.1234560", "10:00:00.123456000", "10:00:00.000000000"),
    "zone": ("", "", "Z", " Z", "UTC", " UTC", "+08", " +08", "+0800", "+08:00", "-03:30", " -0330", "+14",
    "+14:00", "-1400",
             "-00:30", "+00", "-00:00", "+13:59", "+05:45"),
    "after": ("", "", "", " ", "  "),
}  # packed: many short values  # fmt: skip
BAD = {
    "before": ("\t", "\n", "\u3000", "x", "'", "+", "-"),
    "day": ("2023-02-29", "2100-02-29", "1900-02-29", "2024-02-30", "2024-04-31", "2024-13-01",
    "2024-00-10", "2024-01-00",
            "2024-03/01", "2024/03-01", "24-03-01", "12024-03-01", "2024-003-01", "2024-03-001", "2024-03",
            "2024", "20240301",
            "2024.03.01", "01.03.2024", "03/01/2024", "2024-W09-5", "2024-061", "２０２４-03-01",
            "March 1, 2024", "1 Mar 2024", ""),
    "between": ("", "t", "_", "\t", " T ", "T ", ", ", "\n", "\u00a0"),
    "clock": ("24:00", "24:00:00", "25:00", "23:60", "10:00:60", "23:59:60", "9:5", "10:00:5", "10", "1000",
    "100000", "10.5",
              "010:00", "10:00:00.", "10:00:00,5", "10:00:00.1234567", "10:00:00.123456001",
              "10:00:00.1234560000", "10:00.5",
              "9:05 PM", "9:05pm", "9:05:00 AM", "10h00", "٠٩:05", ""),
    "zone": ("z", "utc", "  UTC", "GMT", " CET", " EST", " Asia/Shanghai", "[Europe/Paris]", "UTC+8", "+8",
    "+8:00", "+080",
             "+08:", "+08:60", "+14:01", "+15", "-15:00", "+99:99", " + 08", "+08:00:00", "+08 :00",
             "\u221208:00", "ZZ", "PM"),
    "after": ("\t", "\n", "\r", "\u3000", ".", "0", "'; --", "\x00"),
}  # packed: many short values  # fmt: skip
NUMBERS = (
    "1709287200", "1709287200.5", "1709287200.123456", " 1709287200 ", "170928720", "170928720.25", "1709287200123",
    "1709287200123456", "2024030110", "1000000000000", "9999999999999999", "1709287200.0",
    "0", "-1", "+1709287200", "17092872", "17092872001", "170928720012", "17092872001234",
    "170928720012345", "0709287200",
    "17092872001234567", "1709287200123456789", "1709287200.", "1709287200.1234567", "1709287200.1234560",
    "1709287200123.5",
    "1.7092872e9", "1709287200Z", "1709287200+08", "1_709_287_200", "1,709,287,200", "0000000000",
    "٠٧٠٩٢٨٧٢٠٠", "99999999999999999999",
    "20240301T100000Z", "20240301T1000", "20240301100000", "240301", "2024-03-01Z", "2024-03-01+08:00",
    "2024-03-01T", "2024-03-01 Z",
    "10:00", "10:00:00", "now", "today", "yesterday", "epoch", "infinity", "-infinity", "nan", "NaN",
    "null", "NaT", "None", "", " ", "T",
    "2024-03-01 2024-03-02", "2024-03-01 10:00:00 10:00:00", "Fri, 01 Mar 2024 10:00:00 GMT",
    "Fri Mar  1 10:00:00 2024", "P1D",
)  # packed: many short values  # fmt: skip


def read_time(text: str) -> int | str | None:
    """Microseconds since 1970 (UTC), TOO_FINE, or None for what is no time; character by character."""
    text = text.strip(" ")
    whole, dot, fraction = text.partition(".")
    if whole and set(whole + fraction) <= DIGITS:
        return _unix(whole, dot, fraction)
    head = next((k for k, char in enumerate(text) if char in "T "), len(text))
    day = _day(text[:head])
    if day is None:
        return None
    rest = text[head:]
    if not rest:
        return None if day == "no such day" else day * 86_400_000_000
    rest = rest[1:] if rest[0] == "T" else rest.lstrip(" ")
    length = next((k for k, char in enumerate(rest) if char not in DIGITS | set(":.")), len(rest))
    zone = rest[length:].removeprefix(" ")
    clock, east = _clock(rest[:length]), _east(zone)
    if clock is None or east is None:
        return None
    if clock == TOO_FINE:
        return TOO_FINE
    return None if day == "no such day" else day * 86_400_000_000 + clock - east * 60_000_000


def _is_number(text: str, *lengths: int) -> bool:
    return len(text) in lengths and set(text) <= DIGITS


def _unix(whole: str, dot: str, fraction: str) -> int | str | None:
    if whole[0] == "0" or (dot and not fraction):
        return None
    if len(whole) in (9, 10):
        return TOO_FINE if len(fraction) > 6 else int(whole) * 1_000_000 + int((fraction + "000000")[:6])
    return None if dot else {13: int(whole) * 1000, 16: int(whole)}.get(len(whole))


def _day(text: str) -> int | str | None:
    """Days since 1970; "no such day" if it looks like one."""
    mark = "/" if "/" in text else "-"
    parts = text.split(mark)
    if len(parts) != 3 or not (_is_number(parts[0], 4) and _is_number(parts[1], 1, 2) and _is_number(parts[2], 1, 2)):
        return None
    year, month, day = map(int, parts)
    cycles, year = divmod(year - 2000, CYCLE_YEARS)
    try:
        return dt.date(2000 + year, month, day).toordinal() - EPOCH + cycles * CYCLE_DAYS
    except ValueError:
        return "no such day"


def _clock(text: str) -> int | str | None:
    """Microseconds since midnight, or TOO_FINE."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not _is_number(parts[0], 1, 2) or int(parts[0]) > 23:
        return None
    if not _is_number(parts[1], 2) or int(parts[1]) > 59:
        return None
    second, dot, fraction = parts[2].partition(".") if len(parts) == 3 else ("00", "", "")
    if not _is_number(second, 2) or int(second) > 59 or not set(fraction) <= DIGITS or bool(dot) != bool(fraction):
        return None
    if len(fraction) > 9 or fraction[6:].strip("0"):
        return TOO_FINE
    return ((int(parts[0]) * 60 + int(parts[1])) * 60 + int(second)) * 1_000_000 + int((fraction + "000000")[:6])


def _east(text: str) -> int | None:
    """Minutes east of Greenwich."""
    if text in ("", "Z", "UTC"):
        return 0
    digits = text[1:]
    if text[0] not in "+-" or not (_is_number(digits.replace(":", "", 1), 2, 4)):
        return None
    if ":" in digits and (len(digits) != 5 or digits[2] != ":"):
        return None
    hours, minutes = int(digits[:2]), int(digits.replace(":", "")[2:] or 0)
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        return None
    return (-1 if text[0] == "-" else 1) * (hours * 60 + minutes)


def texts(n: int, seed: int = 1) -> list[str]:
    """Different texts: good pieces put together, some with a bad one, and good texts with a character changed."""
    draw = random.Random(seed)

    def pieces(bad: frozenset[str]) -> str:
        return "".join(draw.choice((BAD if name in bad else GOOD)[name]) for name in GOOD)

    def forever() -> Iterator[str]:
        yield from NUMBERS
        for name in BAD:  # each bad piece beside the plainest others
            plain = {"before": "", "day": "2024-03-01", "between": " ", "clock": "10:00:00", "zone": "", "after": ""}
            yield from ("".join((plain | {name: piece}).values()) for piece in BAD[name])
        while True:
            yield pieces(frozenset())
            yield pieces(frozenset({draw.choice(list(BAD))}))
            text = draw.choice((pieces(frozenset()), draw.choice(NUMBERS)))
            at = draw.randrange(len(text) + 1)
            yield text[:at] + draw.choice("0123456789-/:.T Z+ ") + text[at + draw.randrange(2) :]
            yield text[:at] + text[at + 1 :]

    found: dict[str, None] = {}
    for text in forever():
        found[text] = None
        if len(found) == n:
            return list(found)
    raise AssertionError
