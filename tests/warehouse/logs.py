"""Made-up logs in the form of docs/bring-your-own-log.md, full of the corners that windows trip over."""

import datetime as dt
import random

import pyarrow as pa

FIRST_DAY = dt.datetime(2024, 1, 1)
SURFACES = ("home", "search", "cart")


def random_log(n_events: int = 2500, seed: int = 1, delay_hours: int = 60) -> pa.Table:
    """A log of 45 days: busy and quiet users, days without anyone, ties, events at midnight, outcomes known late.

    `delay_hours` bounds how late an outcome is known; half of them are known at once.
    """
    draw = random.Random(seed)
    days = [day for day in range(45) if day not in (9, 10, 20) and not 24 <= day <= 33]
    rows = []
    for number in range(n_events):
        user = f"u{min(int(draw.expovariate(0.12)), 59)}"
        item = f"i{min(int(draw.expovariate(0.15)), 39)}"
        second = draw.choice([0, 1, 86_399, *(draw.randrange(86_400) for _ in range(30))])
        shown_at = FIRST_DAY + dt.timedelta(days=draw.choice(days), seconds=second)
        delay = dt.timedelta(seconds=draw.randrange(3600 * delay_hours) if delay_hours and draw.random() < 0.5 else 0)
        title = f"title {item} {draw.randrange(2)}" if draw.random() < 0.95 else ""
        rows.append(
            {
                "impression_id": f"e{number:05d}",
                "user_id": user,
                "item_id": item,
                "surface": draw.choice(SURFACES),
                "shown_at": shown_at,
                "ingested_at": shown_at + delay,
                "clicked": int(draw.random() < 0.4),
                "title": title,
                "tags": ";".join(draw.sample(["red", "green", "blue", "sale "], draw.randrange(4))),
                "profile": f"likes {user}" if draw.random() < 0.8 else None,
                "price": draw.choice([None, draw.random()]),
                "position": draw.randrange(9),
                "device": draw.choice("abc"),
            }
        )
    return pa.Table.from_pylist(rows)


def with_column(log: pa.Table, name: str, values: list) -> pa.Table:
    """`log` with one column replaced."""
    return log.set_column(log.column_names.index(name), name, [values])
