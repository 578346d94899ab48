"""The v1 features and the training table in Spark SQL, local[2]: aggregates, range windows over days, joins, one write.

python benchmarks/warehouse/spark_v1.py EVENTS OUT SCRATCH
"""

import sys

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

SCENES = ["0", "1", "2", "3", "4"]
PRIOR_WEIGHT = 20
FEW = 5
SUMS = ["n_impressions", "n_clicks", *(f"{m}_{s}" for m in ("n_impressions", "n_clicks") for s in SCENES)]


def daily(events: DataFrame, keys: list[str], by_scene: bool = True) -> DataFrame:
    """One row per key and day: outcomes known on it, overall and by scene; also days on which the key is only shown."""
    sides = [
        events.select(*keys, "scene", f.col("known_date").alias("date"), f.lit(1).alias("known"), "label"),
        events.select(
            *keys, "scene", f.col("event_date").alias("date"), f.lit(0).alias("known"), f.lit(0).alias("label")
        ),
    ]
    sums = [f.sum("known").alias("n_impressions"), f.sum("label").alias("n_clicks")]
    if by_scene:
        for measure, column in (("n_impressions", "known"), ("n_clicks", "label")):
            for s in SCENES:
                sums.append(f.sum(f.when(f.col("scene") == s, f.col(column)).otherwise(0)).alias(f"{measure}_{s}"))
    both = sides[0].unionAll(sides[1]).groupBy(*keys, "date").agg(*sums)
    return both.withColumn("day", f.unix_date("date")).withColumn(
        "n_active_days", (f.col("n_impressions") > 0).cast("int")
    )


def windowed(frame: DataFrame, keys: list[str], sums: list[str]) -> DataFrame:
    by_day = Window.partitionBy(*keys).orderBy("day")
    before = by_day.rangeBetween(Window.unboundedPreceding, -1)
    frames = {"7d": by_day.rangeBetween(-7, -1), "cum": before}
    active = f.when(f.col("n_impressions") > 0, f.col("day"))
    clicked = f.when(f.col("n_clicks") > 0, f.col("day"))
    return frame.select(
        *keys,
        "date",
        "day",
        *(
            f.coalesce(f.sum(name).over(frame_), f.lit(0)).alias(f"{name}_{w}")
            for w, frame_ in frames.items()
            for name in [*sums, "n_active_days"]
        ),
        f.min(active).over(before).alias("first_day"),
        f.max(active).over(before).alias("last_day"),
        f.max(clicked).over(before).alias("last_click_day"),
    )


def rate(clicks: str, impressions: str, prior: str) -> Column:
    return (f.col(clicks) + PRIOR_WEIGHT * f.col(prior)) / (f.col(impressions) + PRIOR_WEIGHT)


def if_history(column: Column) -> Column:
    return f.when(f.col("n_impressions_cum") > 0, column)


def scene_table(events: DataFrame) -> DataFrame:
    frame = windowed(daily(events, []), [], SUMS).withColumn(
        "prior_rate", f.when(f.col("n_impressions_cum") > 0, f.col("n_clicks_cum") / f.col("n_impressions_cum"))
    )
    priors = [rate(f"n_clicks_{s}_cum", f"n_impressions_{s}_cum", "prior_rate").alias(f"prior_{s}") for s in SCENES]
    lists = [
        f.array(*(rate(f"n_clicks_{s}_{w}", f"n_impressions_{s}_{w}", "prior_rate") for s in SCENES)).alias(
            f"scene_click_rate_{w}"
        )
        for w in ("7d", "cum")
    ]
    return frame.select("date", "prior_rate", *priors, *lists).cache()


def key_table(events: DataFrame, key: str, scenes: DataFrame) -> DataFrame:
    frame = windowed(daily(events, [f"{key}_id"]), [f"{key}_id"], SUMS).join(f.broadcast(scenes), "date", "left")
    n = f.col("n_impressions_cum")
    columns = [f.when(n == 0, "zero").when(n <= FEW, "few").otherwise("warm").alias(f"{key}_level")]
    for w in ("7d", "cum"):
        for measure in ("n_impressions", "n_clicks", "n_active_days"):
            columns.append(if_history(f.col(f"{measure}_{w}")).alias(f"{key}_{measure}_{w}"))
        columns.append(rate(f"n_clicks_{w}", f"n_impressions_{w}", "prior_rate").alias(f"{key}_click_rate_{w}"))
        for measure in ("n_impressions", "n_clicks"):
            lists = f.array(*(f"{measure}_{s}_{w}" for s in SCENES))
            columns.append(if_history(lists).alias(f"{key}_scene_{measure}_{w}"))
        rates = [rate(f"n_clicks_{s}_{w}", f"n_impressions_{s}_{w}", f"prior_{s}") for s in SCENES]
        columns.append(f.array(*rates).alias(f"{key}_scene_click_rate_{w}"))
    for name in ("first", "last", "last_click"):
        columns.append((f.col("day") - f.col(f"{name}_day")).alias(f"{key}_days_since_{name}"))
    return frame.select(f"{key}_id", f.col("date").alias("event_date"), *columns)


def pair_table(events: DataFrame, scenes: DataFrame) -> DataFrame:
    keys, sums = ["user_id", "item_id"], ["n_impressions", "n_clicks"]
    frame = windowed(daily(events, keys, by_scene=False), keys, sums)
    frame = frame.join(f.broadcast(scenes.select("date", "prior_rate")), "date", "left")
    return frame.select(
        *keys,
        f.col("date").alias("event_date"),
        *(if_history(f.col(f"{m}_{w}")).alias(f"user_item_{m}_{w}") for w in ("7d", "cum") for m in sums),
        rate("n_clicks_cum", "n_impressions_cum", "prior_rate").alias("user_item_click_rate_cum"),
        (f.col("day") - f.col("last_day")).alias("user_item_days_since_last"),
        (f.col("day") - f.col("last_click_day")).alias("user_item_days_since_last_click"),
    )


def main(events_file: str, out: str, scratch: str) -> None:
    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": "8g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.local.dir": scratch,
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    events = spark.read.parquet(events_file)
    scenes = scene_table(events)
    slot = f.col("scene").cast("int")
    own = [
        f.col(f"{key}_scene_{measure}_{w}")[slot].alias(f"{key}_own_scene_{measure}_{w}")
        for key in ("user", "item")
        for w in ("7d", "cum")
        for measure in ("n_impressions", "n_clicks", "click_rate")
    ]
    own += [f.col(f"scene_click_rate_{w}")[slot].alias(f"own_scene_click_rate_{w}") for w in ("7d", "cum")]
    by_day = scenes.select(
        f.col("date").alias("event_date"), "prior_rate", "scene_click_rate_7d", "scene_click_rate_cum"
    )
    (
        events.select("event_id", "user_id", "item_id", "scene", "event_at", "event_date", "label")
        .join(key_table(events, "user", scenes), ["user_id", "event_date"], "left")
        .join(key_table(events, "item", scenes), ["item_id", "event_date"], "left")
        .join(pair_table(events, scenes), ["user_id", "item_id", "event_date"], "left")
        .join(f.broadcast(by_day), ["event_date"], "left")
        .select("*", *own)
        .drop("scene_click_rate_7d", "scene_click_rate_cum")
        .write.parquet(out)
    )
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:4])
