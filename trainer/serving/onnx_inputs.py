"""How rows become the inputs of an exported network: the words and numbers beside its ONNX file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from trainer.inputs.features import LEAST_RATE, FittedInputs

_MEANING = {
    "ids_BF": "one column a field of `fields`, in that order: its offset, plus the index of the value in "
    "vocab/<name>.json counting from 1 (from 2 where has_missing); plus 1 for NULL where has_missing; plus 0 for any "
    "other value",
    "dense_BX": "the numbers of `dense`, in that order: transform, then (x - mean) * scale, clipped at +-clip, 0 where "
    "missing (NULL, NaN, infinite, beyond 1e38); then for each number with has_missing, in that order, 1 where it is "
    "missing, else 0",
    "scene_B": "position in `scenes`; a scene in `stand_ins` takes the position of the one it names",
    "level_BG": "how much is known of the user, then of the item: 0 zero, 1 few, 2 warm, 3 unknown",
    "text_BTV": "one vector a column of `text_columns`: the whitened vectors of the row's texts "
    "(whitening.safetensors) averaged, minus the column's mean (whitening_means.safetensors); 0 where the row has no "
    "text with a vector",
    "text_there_BT": "1 where the row has a text with a vector in that column, else 0",
    "llm_BTV": "as text_BTV, by whitening_llm.safetensors, for rows whose user or item is zero or few; 0 elsewhere",
    "llm_there_BT": "1 where llm_BTV holds a vector",
    "past_item_U": "rows of the embedding table, in the item id's field, of the items in the users' latest outcomes; "
    "each once, or as often as you like",
    "past_item_BL": "positions in past_item_U, the most recent outcome first",
    "past_text_UV": "the whitened vectors of the titles of those outcomes, minus their mean (`history` in "
    "whitening_means.safetensors)",
    "past_text_BL": "positions in past_text_UV",
    "past_label_BL": "1 for a click, 0 for none",
    "past_there_BL": "1 where there is such an outcome; where there is none the other past_ inputs hold any valid "
    "value",
    "at_B": "the row's instant, event_at, in microseconds since 1970 UTC; all rows are of one user",
    "outcome_ids_TF": "as ids_BF, of each of the T events of that user whose outcome is known, by event_at and then "
    "event_id: all of them, or the latest window * reach. Events whose outcome is not yet known at at_B may be among "
    "them and count for nothing; a user without any has one whose known_at is the largest integer",
    "outcome_dense_TX": "as dense_BX, of those events as they were",
    "outcome_scene_T": "as scene_B, of those events",
    "outcome_text_TCV": "as text_BTV, of those events",
    "outcome_text_there_TC": "as text_there_BT, of those events",
    "outcome_label_T": "1 for a click, 0 for none",
    "outcome_at_T": "the event's own instant, as at_B",
    "outcome_known_at_T": "when its outcome was known, as at_B; a row sees what was known strictly before its instant",
}


def guide(
    inputs: FittedInputs, batch: dict[str, torch.Tensor], free: Collection[str], *, calibrated: bool
) -> dict[str, Any]:
    """Names, types, shapes and meanings; B is the number of rows, T of outcomes, those of `free` have their own."""

    def shape(name: str, tensor: torch.Tensor) -> list[int | str]:
        n = "T" if name.startswith("outcome_") else "B"
        return [f"of {name}" if name in free else n, *tensor.shape[1:]]

    fields = zip(inputs.offsets, inputs.codes, strict=True)
    return {
        "inputs": [
            {"name": n, "dtype": str(t.dtype).removeprefix("torch."), "shape": shape(n, t), "meaning": _MEANING[n]}
            for n, t in batch.items()
        ],
        "outputs": [
            {"name": name, "dtype": "float32", "shape": ["B"], "meaning": meaning}
            for name, meaning in (("probability", "of a click"), ("logit", "of that probability"))
        ],
        "fields": [
            {"name": c.name, "offset": int(offset), "has_missing": c.has_missing, "size": c.size}
            for offset, c in fields
        ],
        "dense": [
            {"name": d.name, "transform": d.transform, "mean": d.mean, "scale": d.scale, "has_missing": d.has_missing}
            for d in inputs.dense
        ],
        "clip": inputs.clip,
        "transforms": {
            "none": "x",
            "log1p": "sign(x) * log(1 + |x|)",
            "logit": f"log(x / (1 - x)), x kept within {LEAST_RATE:g} and 1 - {LEAST_RATE:g}",
        },
        "scenes": list(inputs.scenes),
        "stand_ins": inputs.stand_ins,
        "text_columns": [{"name": name, "group": group} for name, group in inputs.text_columns],
        "history": inputs.history,
        **({"window": inputs.window, "reach": inputs.reach} if inputs.window else {}),
        "calibrated_by_scene": calibrated,
        "files": "vocab/ and *.safetensors lie in the run's folder",
    }
