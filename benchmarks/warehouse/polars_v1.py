"""The v1 features and the training table in Polars: group_by, rolling, cum_sum over, joins, one sink.

python benchmarks/warehouse/polars_v1.py EVENTS OUT
"""

import sys
from pathlib import Path

import polars as pl

SCENES = ["0", "1", "2", "3", "4"]
PRIOR_WEIGHT = 20
FEW = 5
SUMS = ["n_impressions", "n_clicks", *(f"{m}_{s}" for m in ("n_impressions", "n_clicks") for s in SCENES)]


def daily(events: pl.LazyFrame, keys: list[str], by_scene: bool = True) -> pl.LazyFrame:
    """One row per key and day: outcomes known on it, overall and by scene; also days on which the key is only shown."""
    known = [pl.len().cast(pl.Int64).alias("n_impressions"), pl.col("label").sum().cast(pl.Int64).alias("n_clicks")]
    if by_scene:
        for s in SCENES:
            there = pl.col("scene") == s
            known.append(there.sum().cast(pl.Int64).alias(f"n_impressions_{s}"))
            known.append(pl.col("label").filter(there).sum().cast(pl.Int64).alias(f"n_clicks_{s}"))
    outcomes = events.group_by(*keys, pl.col("known_date").alias("day")).agg(known)
    shown = events.select(*keys, pl.col("event_date").alias("day")).unique()
    return shown.join(outcomes, on=[*keys, "day"], how="full", coalesce=True).with_columns(
        pl.exclude(*keys, "day").fill_null(0)
    )


def windowed(frame: pl.DataFrame, keys: list[str], sums: list[str]) -> pl.DataFrame:
    """<sum>_7d over [day - 7, day) and <sum>_cum over everything before, first and last days of outcomes and clicks."""
    active, clicked = pl.col("n_impressions") > 0, pl.col("n_clicks") > 0
    frame = frame.with_columns(n_active_days=active.cast(pl.Int64)).sort(*keys, "day")
    sums = [*sums, "n_active_days"]
    week = frame.rolling("day", period="7d", closed="left", group_by=keys or None).agg(
        pl.col(name).sum().alias(f"{name}_7d") for name in sums
    )
    before = [pl.col(name).cum_sum() - pl.col(name) for name in sums]
    dates = [
        pl.when(active).then("day").min().alias("first_date"),
        pl.when(active).then("day").forward_fill().shift(1).alias("last_date"),
        pl.when(clicked).then("day").forward_fill().shift(1).alias("last_click_date"),
    ]
    cumulative = [expr.over(keys) if keys else expr for expr in (*before, *dates)]
    named = [*(f"{name}_cum" for name in sums), "first_date", "last_date", "last_click_date"]
    frame = frame.with_columns(expr.alias(name) for expr, name in zip(cumulative, named, strict=True))
    return frame.with_columns(
        *(week[f"{name}_7d"] for name in sums),
        first_date=pl.when(pl.col("first_date") < pl.col("day")).then("first_date"),
    )


def rate(clicks: str, impressions: str, prior: str) -> pl.Expr:
    return (pl.col(clicks) + PRIOR_WEIGHT * pl.col(prior)) / (pl.col(impressions) + PRIOR_WEIGHT)


def if_history(expr: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("n_impressions_cum") > 0).then(expr)


def days_since(column: str) -> pl.Expr:
    return (pl.col("day") - pl.col(column)).dt.total_days()


def scene_table(events: pl.LazyFrame) -> pl.DataFrame:
    """One row per day: the log's rate so far, and each scene's, smoothed towards it."""
    frame = windowed(daily(events, []).collect(), [], SUMS).with_columns(
        prior_rate=pl.when(pl.col("n_impressions_cum") > 0).then(pl.col("n_clicks_cum") / pl.col("n_impressions_cum"))
    )
    return frame.select(
        "day",
        "prior_rate",
        *(rate(f"n_clicks_{s}_cum", f"n_impressions_{s}_cum", "prior_rate").alias(f"prior_{s}") for s in SCENES),
        *(
            pl.concat_list(rate(f"n_clicks_{s}_{w}", f"n_impressions_{s}_{w}", "prior_rate") for s in SCENES).alias(
                f"scene_click_rate_{w}"
            )
            for w in ("7d", "cum")
        ),
    )


def key_table(events: pl.LazyFrame, key: str, scenes: pl.DataFrame) -> pl.DataFrame:
    frame = windowed(daily(events, [f"{key}_id"]).collect(), [f"{key}_id"], SUMS)
    frame = frame.join(scenes, on="day", how="left")
    n = pl.col("n_impressions_cum")
    columns = [
        pl.when(n == 0)
        .then(pl.lit("zero"))
        .when(n <= FEW)
        .then(pl.lit("few"))
        .otherwise(pl.lit("warm"))
        .alias(f"{key}_level")
    ]
    for w in ("7d", "cum"):
        for measure in ("n_impressions", "n_clicks", "n_active_days"):
            columns.append(if_history(pl.col(f"{measure}_{w}")).alias(f"{key}_{measure}_{w}"))
        columns.append(rate(f"n_clicks_{w}", f"n_impressions_{w}", "prior_rate").alias(f"{key}_click_rate_{w}"))
        for measure in ("n_impressions", "n_clicks"):
            lists = pl.concat_list(f"{measure}_{s}_{w}" for s in SCENES)
            columns.append(if_history(lists).alias(f"{key}_scene_{measure}_{w}"))
        rates = [rate(f"n_clicks_{s}_{w}", f"n_impressions_{s}_{w}", f"prior_{s}") for s in SCENES]
        columns.append(pl.concat_list(rates).alias(f"{key}_scene_click_rate_{w}"))
    for name in ("first", "last", "last_click"):
        columns.append(days_since(f"{name}_date").alias(f"{key}_days_since_{name}"))
    return frame.select(f"{key}_id", pl.col("day").alias("event_date"), *columns)


def pair_table(events: pl.LazyFrame, scenes: pl.DataFrame) -> pl.DataFrame:
    keys, sums = ["user_id", "item_id"], ["n_impressions", "n_clicks"]
    frame = windowed(daily(events, keys, by_scene=False).collect(), keys, sums)
    frame = frame.join(scenes.select("day", "prior_rate"), on="day", how="left")
    return frame.select(
        *keys,
        pl.col("day").alias("event_date"),
        *(if_history(pl.col(f"{m}_{w}")).alias(f"user_item_{m}_{w}") for w in ("7d", "cum") for m in sums),
        rate("n_clicks_cum", "n_impressions_cum", "prior_rate").alias("user_item_click_rate_cum"),
        days_since("last_date").alias("user_item_days_since_last"),
        days_since("last_click_date").alias("user_item_days_since_last_click"),
    )


def main(events_file: str, out: Path) -> None:
    out.mkdir(parents=True)
    events = pl.scan_parquet(events_file)
    scenes = scene_table(events)
    by_day = scenes.select(
        pl.col("day").alias("event_date"), "prior_rate", "scene_click_rate_7d", "scene_click_rate_cum"
    )
    users, items, pairs = (
        key_table(events, "user", scenes),
        key_table(events, "item", scenes),
        pair_table(events, scenes),
    )
    slot = pl.col("scene").cast(pl.Int32)
    own = [
        pl.col(f"{key}_scene_{measure}_{w}").list.get(slot).alias(f"{key}_own_scene_{measure}_{w}")
        for key in ("user", "item")
        for w in ("7d", "cum")
        for measure in ("n_impressions", "n_clicks", "click_rate")
    ]
    own += [pl.col(f"scene_click_rate_{w}").list.get(slot).alias(f"own_scene_click_rate_{w}") for w in ("7d", "cum")]
    (
        events.select("event_id", "user_id", "item_id", "scene", "event_at", "event_date", "label")
        .join(users.lazy(), on=["user_id", "event_date"], how="left")
        .join(items.lazy(), on=["item_id", "event_date"], how="left")
        .join(pairs.lazy(), on=["user_id", "item_id", "event_date"], how="left")
        .join(by_day.lazy(), on="event_date", how="left")
        .with_columns(own)
        .drop("scene_click_rate_7d", "scene_click_rate_cum")
        .sink_parquet(out / "part.parquet", compression="zstd")
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
