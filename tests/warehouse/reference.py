"""The features of one event, recomputed from raw events by their definition: slow, plain, with no code of the SQL.

An event is a row of tests/warehouse/logs.py. `None` stands for NULL.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

Event = dict[str, object]
Features = dict[str, object]
DAY = dt.timedelta(days=1)
HISTORY_LENGTH = 30


@dataclass(frozen=True)
class Settings:
    scenes: tuple[str, ...]
    prior_weight: float = 20
    few_max: int = 5

    def rate(self, events: list[Event], prior: float | None) -> float | None:
        """Clicks over impressions, drawn towards the prior; NULL without one."""
        if prior is None:
            return None
        return (clicks(events) + self.prior_weight * prior) / (len(events) + self.prior_weight)

    def level(self, history: list[Event]) -> str:
        return "zero" if not history else "few" if len(history) <= self.few_max else "warm"

    def scene_priors(self, known: list[Event]) -> dict[str, float | None]:
        return {scene: self.rate(where(known, surface=scene), overall(known)) for scene in self.scenes}


def clicks(events: list[Event]) -> int:
    return sum(event["clicked"] for event in events)


def overall(known: list[Event]) -> float | None:
    return clicks(known) / len(known) if known else None


def where(events: list[Event], **values: object) -> list[Event]:
    return [event for event in events if all(event[name] == value for name, value in values.items())]


def known_before(log: list[Event], moment: dt.datetime, days: int | None = None) -> list[Event]:
    """Events whose outcome was known before `moment`, and not more than `days` times 24 hours before."""
    earliest = dt.datetime.min if days is None else moment - days * DAY
    return [event for event in log if earliest <= event["ingested_at"] < moment]


def features_v1(event: Event, log: list[Event], settings: Settings) -> Features:
    """Every feature of `event` in training_examples v1: as of 00:00 of its day."""
    midnight = dt.datetime.combine(event["shown_at"].date(), dt.time())
    known = known_before(log, midnight)
    week = known_before(log, midnight, days=7)
    priors, own = settings.scene_priors(known), event["surface"]

    def days_since(events: list[Event], pick: Callable) -> int | None:
        return (midnight.date() - pick(other["ingested_at"].date() for other in events)).days if events else None

    found: Features = {
        "prior_rate": overall(known),
        "own_scene_click_rate_7d": settings.rate(where(week, surface=own), overall(known)),
        "own_scene_click_rate_cum": priors[own],
    }
    for key in ("user", "item"):
        mine = {f"{key}_id": event[f"{key}_id"]}
        history = where(known, **mine)
        found[f"{key}_level"] = settings.level(history)
        for window, events in (("7d", where(week, **mine)), ("cum", history)):
            by_scene = [where(events, surface=scene) for scene in settings.scenes]
            of_own = where(events, surface=own)
            counts = {
                "n_impressions": len(events),
                "n_clicks": clicks(events),
                "n_active_days": len({other["ingested_at"].date() for other in events}),
                "scene_n_impressions": [len(part) for part in by_scene],
                "scene_n_clicks": [clicks(part) for part in by_scene],
                "own_scene_n_impressions": len(of_own),
                "own_scene_n_clicks": clicks(of_own),
            }
            found |= {f"{key}_{name}_{window}": count if history else None for name, count in counts.items()}
            found |= {
                f"{key}_click_rate_{window}": settings.rate(events, overall(known)),
                f"{key}_scene_click_rate_{window}": [
                    settings.rate(part, priors[scene]) for scene, part in zip(settings.scenes, by_scene, strict=True)
                ],
                f"{key}_own_scene_click_rate_{window}": settings.rate(of_own, priors[own]),
            }
        found |= {
            f"{key}_days_since_first": days_since(history, min),
            f"{key}_days_since_last": days_since(history, max),
            f"{key}_days_since_last_click": days_since(where(history, clicked=1), max),
        }
    mine = {"user_id": event["user_id"], "item_id": event["item_id"]}
    pair = where(known, **mine)
    for window, events in (("7d", where(week, **mine)), ("cum", pair)):
        found[f"user_item_n_impressions_{window}"] = len(events) if pair else None
        found[f"user_item_n_clicks_{window}"] = clicks(events) if pair else None
    return found | {
        "user_item_click_rate_cum": settings.rate(pair, overall(known)),
        "user_item_days_since_last": days_since(pair, max),
        "user_item_days_since_last_click": days_since(where(pair, clicked=1), max),
    }


def features_v2(event: Event, log: list[Event], settings: Settings) -> Features:
    """Every feature of `event` in training_examples v2: up to its instant; priors and lists over scenes as in v1."""
    instant = event["shown_at"]
    midnight = dt.datetime.combine(instant.date(), dt.time())
    known = known_before(log, instant)
    week = known_before(log, instant, days=7)
    today = [other for other in known if other["ingested_at"] >= midnight]
    prior = overall(known_before(log, midnight))
    scene_prior = settings.scene_priors(known_before(log, midnight))[event["surface"]]
    user, item, scene = ({name: event[name]} for name in ("user_id", "item_id", "surface"))
    keys = {
        "user": (user, prior),
        "item": (item, prior),
        "user_item": (user | item, prior),
        "user_own_scene": (user | scene, scene_prior),
        "item_own_scene": (item | scene, scene_prior),
    }

    def seconds_since_last(events: list[Event]) -> float | None:
        return (instant - max(other["ingested_at"] for other in events)).total_seconds() if events else None

    daily = features_v1(event, log, settings)
    found: Features = {
        name: value
        for name, value in daily.items()
        if ("_scene_" in name and "own_scene" not in name)
        or "active_days" in name
        or "since_first" in name
        or name in ("prior_rate", "own_scene_click_rate_7d", "own_scene_click_rate_cum")
    }
    for prefix, (mine, prior_rate) in keys.items():
        history = where(known, **mine)
        for window, events in (("7d", where(week, **mine)), ("cum", history), ("today", where(today, **mine))):
            found[f"{prefix}_n_impressions_{window}"] = len(events) if history else None
            found[f"{prefix}_n_clicks_{window}"] = clicks(events) if history else None
            if window != "today":
                found[f"{prefix}_click_rate_{window}"] = settings.rate(events, prior_rate)
        found[f"{prefix}_seconds_since_last"] = seconds_since_last(history)
        found[f"{prefix}_seconds_since_last_click"] = seconds_since_last(where(history, clicked=1))
        if prefix in ("user", "item"):
            found[f"{prefix}_level"] = settings.level(history)
    met = where(known, **user)
    latest = sorted(met, key=lambda other: (other["ingested_at"], other["impression_id"]), reverse=True)[
        :HISTORY_LENGTH
    ]
    return found | {
        "user_n_distinct_items_cum": len({other["item_id"] for other in met}) if met else None,
        "user_last_item_ids": [other["item_id"] for other in latest] if met else None,
        "user_last_labels": [other["clicked"] for other in latest] if met else None,
        "event_hour": str(instant.hour),
        "event_weekday": str(instant.isoweekday()),
    }
