"""What takes the place of the counting steps of the feature models at request time, and which columns each holds.

The counting steps (`windowed` and those before it) go through a log; the state keeps what they would arrive at. Their
names and columns are those of `warehouse/models/features`; everything after them is formulas, which stay in the SQL.
"""

from __future__ import annotations

from trainer.serving.online.relations import Supplied

REQUEST = (
    "event_id", "user_id", "item_id", "scene", "event_at", "event_date", "known_at", "known_date", "label",
    "item_title", "item_entities", "user_texts", "ctx_dense", "ctx_ids",
)  # fmt: skip  # the columns of stg_events
MICROS = "request.micros"
# Grain -> the key columns, and the model that counts it up to the instant.
MOMENTS = {
    "user": (("user_id",), "feat_user_v2"),
    "item": (("item_id",), "feat_item_v2"),
    "user_item": (("user_id", "item_id"), "feat_user_item_v2"),
    "user_scene": (("user_id", "scene"), "feat_user_scene_v2"),
    "item_scene": (("item_id", "scene"), "feat_item_scene_v2"),
}
MOMENT_COLUMNS = (
    "n_impressions_cum", "n_clicks_cum", "n_impressions_7d", "n_clicks_7d", "n_impressions_today", "n_clicks_today",
    "last_micros", "last_click_micros",
)  # fmt: skip
# Grain -> the key columns, and the model that counts it by day.
DAYS = {
    "user_days": (("user_id",), "feat_user_v1"),
    "item_days": (("item_id",), "feat_item_v1"),
    "log_days": ((), "feat_scene_v1"),
}
HISTORY = "feat_user_history_v2"
HISTORY_LISTS = {"item_ids": "item_id", "title_text_ids": "title_text_id", "labels": "label"}


def day_columns(n_scenes: int) -> tuple[str, ...]:
    """The columns of `windowed` in the models by day."""
    measures = ["n_impressions", "n_clicks", "n_active_days"]
    measures += [f"{measure}_{slot}" for measure in measures[:2] for slot in range(1, n_scenes + 1)]
    sums = [f"{measure}_{window}" for measure in measures for window in ("7d", "cum")]
    return (*sums, "first_date", "last_date", "last_click_date")


def supplied(mart: str, n_scenes: int) -> dict[tuple[str, str], Supplied]:
    """(model, step) -> what is supplied for it."""
    request = {name: f"request.{name}" for name in REQUEST}
    found = {("stg_events", ""): Supplied(request)}
    for grain, (keys, model) in MOMENTS.items():
        columns = {name: f"{grain}.{name}" for name in MOMENT_COLUMNS}
        columns |= {key: request[key] for key in keys} | {"micros": MICROS, "day": request["event_date"]}
        found[model, "windowed"] = Supplied(columns)
    found["feat_user_v2", "distinct_items"] = Supplied(
        {"user_id": request["user_id"], "micros": MICROS, "n_distinct_items_cum": "user.n_distinct_items_cum"}
    )
    for grain, (keys, model) in DAYS.items():
        columns = {name: f"{grain}.{name}" for name in day_columns(n_scenes)}
        columns |= {key: request[key] for key in keys} | {"as_of_date": request["event_date"]}
        found[model, "windowed"] = Supplied(columns)
    found[mart, "histories"] = Supplied(
        {name: f"history.{name}" for name in ("last_number", *HISTORY_LISTS)}, frozenset({"user_id", "history_group"})
    )
    found["int_entity_lists", ""] = Supplied({"text_ids": "texts.item_entity_ids"}, frozenset({"entity_list"}))
    found["int_user_texts", ""] = Supplied(
        {name: f"texts.{name}" for name in ("text_id", "entity_text_ids")}, frozenset({"user_texts"})
    )
    found[HISTORY, "numbered"] = Supplied(request | {"position": "history.position"})
    return found
