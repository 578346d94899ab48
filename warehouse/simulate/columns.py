"""A block's rows as the log's 37 columns and as the truth's columns. Labels are only written here, never used."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .events import COUPONS, MINI_PROGRAMS, Block, Drawn, Intercepts, draw
from .parameters import COLUMNS, FIRST_DAY, N_DEEP_FEATURES, NUMERIC_FEATURES, PROBABILITY_STEPS, SCENES
from .world import World

CLOCK = pa.array([f" {s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400)])
SHORT_CLOCK = pa.array([f" {m // 60}:{m % 60:02d}" for m in range(1_440)])
SCENE_CODES = pa.array(SCENES)
TRUTH_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("part", pa.string()),
        ("row_number", pa.int64()),
        ("true_probability", pa.float64()),
        ("label", pa.int8()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("scene", pa.string()),
        ("log_time", pa.timestamp("ms")),
    ]
)


def log_schema() -> pa.Schema:
    """The Parquet format's types: ids, texts, scene and log_time strings, label int32, the nine numbers double."""
    numbers = {f"deep_features_{i}" for i in NUMERIC_FEATURES}
    kinds = {"label": pa.int32()} | dict.fromkeys(numbers, pa.float64())
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def make_block(
    world: World, intercepts: Intercepts, block: Block, file_name: str, short_time: bool
) -> tuple[pa.Table, pa.Table, Drawn]:
    """(log table, truth table, drawn rows) of one block; the log's tables have ids as integers where CSV allows it."""
    rows, rng = draw(world, intercepts, block)
    users, items, texts = world.users, world.items, world.item_texts
    user, item = pa.array(rows.user), pa.array(rows.item)
    day = np.datetime64(FIRST_DAY) + block.day
    written = rows.second - rows.second % 60 if short_time else rows.second
    user_ids, item_ids, scenes = users.ids.take(user), items.ids.take(item), SCENE_CODES.take(pa.array(rows.scene))
    log = {
        "user_id": user_ids,
        "item_id": item_ids,
        "log_time": _log_time(day, written, short_time),
        "label": pa.array(rows.label.astype(np.int32)),
        "scene": scenes,
    }
    p, n = world.parameters, block.n_rows
    for kind, (name, sequence) in enumerate(zip(("bill", "service", "query"), world.sequences, strict=True)):
        taken = sequence.lists.take(pa.array(sequence.rows(rows.user, block.day)))
        log[f"{name}_entity_seq"] = _blank(taken, rng.random(n) < p.missing_sequence_share[kind])
    version = (rng.random(n) * texts.count[rows.item]).astype(np.int64)
    log["item_entity_names"] = texts.entity_lists.take(pa.array(texts.first[rows.item] + version))
    altered = pa.array(rng.random(n) < p.altered_title_share)
    log["item_title"] = pc.if_else(altered, texts.altered.take(item), texts.titles.take(item))
    for number, values in enumerate(_deep_features(rng, world, block.day, rows)):
        log[f"deep_features_{number}"] = values
    row_number = np.arange(block.first_row, block.first_row + n)
    truth = {
        "event_id": pc.binary_join_element_wise(pa.scalar(file_name), pa.array(row_number).cast(pa.string()), ":"),
        "part": pa.array([file_name]).take(pa.array(np.zeros(n, np.int32))),
        "row_number": pa.array(row_number),
        "true_probability": pa.array(rows.millionths / PROBABILITY_STEPS),
        "label": pa.array(rows.label),
        "user_id": user_ids,
        "item_id": item_ids,
        "scene": scenes,
        "log_time": pa.array(day.astype("datetime64[ms]") + written * np.timedelta64(1000, "ms")),
    }
    return pa.table({name: log[name] for name in COLUMNS}), pa.table(truth, schema=TRUTH_SCHEMA), rows


def _log_time(day: np.datetime64, second: np.ndarray, short: bool) -> pa.Array:
    if short:  # 2023/7/10 8:05, by the minute
        year, month, number = str(day).split("-")
        date, clock = f"{year}/{int(month)}/{int(number)}", SHORT_CLOCK.take(pa.array(second // 60))
    else:  # 2023-07-10 08:05:09
        date, clock = str(day), CLOCK.take(pa.array(second))
    return pc.binary_join_element_wise(pa.scalar(date), clock, "")


def _deep_features(rng: np.random.Generator, world: World, day: int, rows: Drawn) -> list[pa.Array]:
    """deep_features_0 .. 26. docs/simulated-log.md describes each; the order of codes has no meaning."""
    users, items, p = world.users, world.items, world.parameters
    user, item, scene, n = rows.user, rows.item, rows.scene, len(rows.user)
    age = day - items.birth[item]
    hour = rows.second // 3600
    codes = {
        0: users.gender[user],
        1: users.age[user],
        2: users.tier[user],
        3: users.segment[user],
        4: users.noise_code[0, user],
        5: rows.network,
        6: hour,
        7: np.full(n, (day + 1) % 7),
        8: items.category[item],
        9: items.merchant[item],
        10: rows.slot,
        11: scene * 8 + rng.integers(0, 8, n),
        12: users.noise_code[1, user],
        13: users.noise_code[2, user],
        15: items.template[item],
        16: users.membership[user],
        17: items.noise_code[item],
        18: np.where(scene <= COUPONS, np.clip(items.price[item] * 2 + 5, 0, 9).astype(np.int64), -1),
    }
    unknown_user = {0: 0.10, 1: 0.15}
    relevance = rows.match + p.relevance_noise * rng.standard_normal(n)
    numbers = {
        14: users.propensity[user],
        19: np.where(rng.random(n) < 0.10, np.nan, age.astype(float)),
        20: np.where(scene <= COUPONS, np.round(np.exp(3.5 + items.price[item]), 2), np.nan),
        21: np.where((scene == COUPONS) & (rng.random(n) < 0.8), np.exp(0.7 + 0.9 * rows.distance), np.nan),
        22: np.where((scene >= MINI_PROGRAMS) & (rng.random(n) < 0.85), relevance, np.nan),
        23: users.noise_number[0, user],
        24: rng.random(n),
        25: users.noise_number[1, user],
        26: np.where(age < 2, np.nan, items.quality[item]),
    }
    columns = []
    for number in range(N_DEEP_FEATURES):
        if number in numbers:
            values = np.round(numbers[number], 3)
            columns.append(pa.array(values, mask=np.isnan(values)))
            continue
        values = codes[number].astype(np.int64)
        missing = values < 0
        if number in unknown_user:  # unknown for the same users on every row
            missing = missing | (users.unknown[user] < unknown_user[number])
        columns.append(pa.array(world.codes[number][values], mask=missing))
    return columns


def _blank(texts: pa.Array, mask: np.ndarray) -> pa.Array:
    return pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), texts)
