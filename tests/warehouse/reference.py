"""The v1 features of one event, recomputed from raw events by the definition: slow, plain, with no code of the SQL."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

Event = dict[str, object]
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Settings:
    scenes: tuple[str, ...]
    prior_weight: float = 20
    few_max: int = 5


def clicks(events: list[Event]) -> int:
    return sum(event["clicked"] for event in events)


def features(event: Event, log: list[Event], settings: Settings) -> dict[str, object]:
    """Every feature of `event` in training_examples v1: name -> value (None = NULL)."""
    as_of = dt.datetime.combine(event["shown_at"].date(), dt.time())
    known = [other for other in log if other["ingested_at"] < as_of]
    prior = clicks(known) / len(known) if known else None

    def rate(events: list[Event], prior_rate: float | None) -> float | None:
        weight = settings.prior_weight
        return None if prior_rate is None else (clicks(events) + weight * prior_rate) / (len(events) + weight)

    def in_week(events: list[Event]) -> list[Event]:
        return [other for other in events if as_of - 7 * DAY <= other["ingested_at"]]

    def of_scene(events: list[Event], scene: str) -> list[Event]:
        return [other for other in events if other["surface"] == scene]

    def days_since(events: list[Event], pick: Callable) -> int | None:
        return (as_of.date() - pick(other["ingested_at"].date() for other in events)).days if events else None

    scene_priors = {scene: rate(of_scene(known, scene), prior) for scene in settings.scenes}
    own = event["surface"]
    found: dict[str, object] = {
        "prior_rate": prior,
        "own_scene_click_rate_7d": rate(of_scene(in_week(known), own), prior),
        "own_scene_click_rate_cum": scene_priors[own],
    }
    for key in ("user", "item"):
        history = [other for other in known if other[f"{key}_id"] == event[f"{key}_id"]]
        found[f"{key}_level"] = "zero" if not history else "few" if len(history) <= settings.few_max else "warm"
        for window, events in (("7d", in_week(history)), ("cum", history)):
            by_scene = [of_scene(events, scene) for scene in settings.scenes]
            measures = {
                "n_impressions": len(events),
                "n_clicks": clicks(events),
                "n_active_days": len({other["ingested_at"].date() for other in events}),
                "scene_n_impressions": [len(part) for part in by_scene],
                "scene_n_clicks": [clicks(part) for part in by_scene],
                "own_scene_n_impressions": len(of_scene(events, own)),
                "own_scene_n_clicks": clicks(of_scene(events, own)),
            }
            found |= {f"{key}_{name}_{window}": value if history else None for name, value in measures.items()}
            found |= {
                f"{key}_click_rate_{window}": rate(events, prior),
                f"{key}_scene_click_rate_{window}": [
                    rate(part, scene_priors[scene]) for scene, part in zip(settings.scenes, by_scene, strict=True)
                ],
                f"{key}_own_scene_click_rate_{window}": rate(of_scene(events, own), scene_priors[own]),
            }
        clicked = [other for other in history if other["clicked"]]
        found |= {
            f"{key}_days_since_first": days_since(history, min),
            f"{key}_days_since_last": days_since(history, max),
            f"{key}_days_since_last_click": days_since(clicked, max),
        }
    pair = [other for other in known if (other["user_id"], other["item_id"]) == (event["user_id"], event["item_id"])]
    for window, events in (("7d", in_week(pair)), ("cum", pair)):
        found[f"user_item_n_impressions_{window}"] = len(events) if pair else None
        found[f"user_item_n_clicks_{window}"] = clicks(events) if pair else None
    found |= {
        "user_item_click_rate_cum": rate(pair, prior),
        "user_item_days_since_last": days_since(pair, max),
        "user_item_days_since_last_click": days_since([other for other in pair if other["clicked"]], max),
    }
    return found
