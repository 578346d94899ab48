"""Outcomes on their way into the state's blobs: one transaction of a store."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import msgpack

from trainer.serving.online import days, history, known_texts, moments
from trainer.serving.online.keys import (
    LOG,
    Outcome,
    event_key,
    item_key,
    pair_key,
    past_key,
    row_key,
    segment_key,
    user_key,
)
from trainer.serving.online.records import COUNTED, DAILY, LATEST, SCENES, TEXTS, Record, packed, unpacked
from trainer.serving.online.stores import Blobs


class UnreadKeysError(Exception):
    """The transaction needs keys that it didn't read."""

    def __init__(self, keys: list[bytes]):
        super().__init__(keys)
        self.keys = keys


class Applying:
    """What the blobs become. n_scenes and length (of a history) as the state's settings have them."""

    def __init__(self, blobs: Blobs, n_scenes: int, length: int):
        self._blobs, self._n_scenes, self._length = blobs, n_scenes, length
        self._records: dict[bytes, Record] = {}
        self._changed = Blobs()

    @property
    def changed(self) -> Blobs:
        return self._changed | {key: packed(record) for key, record in self._records.items()}

    def get(self, key: bytes) -> bytes | None:
        return self._changed[key] if key in self._changed else self._blobs[key]

    def read(self, keys: Sequence[bytes]) -> Blobs:
        """Blobs as they are by now. Raises: UnreadKeysError."""
        there = self.changed
        if unread := [key for key in keys if key not in there and key not in self._blobs]:
            raise UnreadKeysError(unread)
        return {key: there[key] if key in there else self._blobs[key] for key in keys}

    def keep(self, outcomes: Sequence[Outcome], rows: Sequence[bytes]) -> None:
        """Keep the whole rows of outcomes."""
        for one, row in zip(outcomes, rows, strict=True):
            past = self.get(past_key(one.user_id))
            self.put(past_key(one.user_id), msgpack.encode([*(msgpack.decode(past) if past else ()), one.event_id]))
            self.put(row_key(one.user_id, one.event_id), row)

    def put(self, key: bytes, blob: bytes | None) -> None:
        self._changed[key] = blob

    def applied_with(self, one: Outcome) -> str | None:
        """What its event was applied with before, as `noted` says it; None if it wasn't."""
        blob = self.get(event_key(one.event_id))
        return None if blob is None else blob.decode()

    def count(self, one: Outcome, slot: int, settled: int) -> None:
        """Count a new outcome. slot: its scene's position."""
        user, item = self._record(user_key(one.user_id)), self._record(item_key(one.item_id))
        pair_at = pair_key(one.user_id, one.item_id)
        pair = self.get(pair_at)
        first = moments.first_instant(pair)
        is_first = first is None or one.known_at < first

        def counted(grain: str, blob: bytes | None, new_items: int = 0) -> bytes:
            return self._counted(grain, blob, one, one.known_at, (1, one.label, new_items), settled)

        if first is not None and is_first:  # the pair's first outcome is an earlier one than was thought
            user[COUNTED] = self._counted("user", user[COUNTED], one, first, (0, 0, -1), settled)
        user[COUNTED] = counted("user", user[COUNTED], int(is_first))
        item[COUNTED] = counted("item", item[COUNTED])
        self.put(pair_at, counted("user_item", pair))
        for grain, record in (("user_scene", user), ("item_scene", item)):
            record[SCENES + slot] = counted(grain, record[SCENES + slot])
        day, keep_from = one.known_at // moments.DAY, settled // moments.DAY - 7
        for record in (user, item):
            record[DAILY] = days.added(record[DAILY], day, slot, one.label, self._n_scenes, keep_from)
        self.put(LOG, days.added(self.get(LOG), day, slot, one.label, self._n_scenes, keep_from))
        user[LATEST] = history.added(
            user[LATEST], one.known_at, one.event_id, one.values, settled=settled, length=self._length
        )
        for record, texts in ((item, one.item_texts), (user, one.user_texts)):
            if texts:
                record[TEXTS] = known_texts.newer(record[TEXTS], one.known_at, one.event_id, texts)
        self.put(event_key(one.event_id), noted(one).encode())

    def _record(self, key: bytes) -> Record:
        if key not in self._records:
            self._records[key] = unpacked(self._blobs[key], self._n_scenes)
        return self._records[key]

    def _counted(
        self, grain: str, blob: bytes | None, one: Outcome, at: int, numbers: tuple[int, int, int], settled: int
    ) -> bytes:
        blob, segments = moments.added(blob, at, *numbers, settled=settled)
        for hour, segment in segments.items():
            self.put(segment_key(grain, one, hour), segment)
        return blob


def noted(one: Outcome) -> str:
    """What is kept of an outcome to tell it from another of the same event: known_at, then its label."""
    return f"{one.known_at} {one.label}"
