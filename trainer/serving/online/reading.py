"""What requests read of the state's blobs: the keys, and from their blobs what each grain counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from trainer.base.errors import TrainerError
from trainer.serving.online import moments
from trainer.serving.online.gathered import Gathered
from trainer.serving.online.keys import LOG, Request, item_key, pair_key, past_key, segment_key, user_key
from trainer.serving.online.records import COUNTED, DAILY, LATEST, SCENES, unpacked
from trainer.serving.online.stores import Blobs
from trainer.serving.online.supplied import MOMENTS

Read = Callable[[Sequence[bytes]], Blobs]
_OF_USER, _OF_ITEM = {"user", "user_scene", "user_days", "history"}, {"item", "item_scene", "item_days"}
_IN_SCENES = ("user_scene", "item_scene")
_PLACES = {"user": COUNTED, "item": COUNTED, "user_days": DAILY, "item_days": DAILY, "history": LATEST}


class GoneError(TrainerError):
    """A segment that a request needs isn't there any more."""


class Reading:
    """Requests and the grains that are read for them. `past`: the lists of whole rows."""

    def __init__(self, requests: Sequence[Request], grains: Collection[str]):
        self._requests, self._grains = requests, grains
        # The candidates of one user differ in their items only: what is of the user is read and counted once.
        self._shared = len(requests) > 0 and len({(one.user_id, one.scene, one.at) for one in requests}) == 1
        self._of_user = requests[:1] if self._shared else requests
        wanted = set(grains)
        self._users = [user_key(one.user_id) for one in self._of_user] if wanted & _OF_USER else []
        self._items = [item_key(one.item_id) for one in requests] if wanted & _OF_ITEM else []
        self._pairs = [pair_key(one.user_id, one.item_id) for one in requests] if "user_item" in wanted else []
        self._past = [past_key(one.user_id) for one in self._of_user] if "past" in wanted else []
        self.keys = [LOG, *self._users, *self._items, *self._pairs, *self._past]

    def gathered(self, blobs: Blobs, clock: int | None, slots: dict[str, int], read: Read) -> Gathered:
        """blobs: of `keys`. clock: the state's. slots: positions of scenes. read: more blobs, as of the same moment.

        Raises: GoneError.
        """
        nothing = unpacked(None, len(slots))
        users, items = (
            [nothing if (blob := blobs[key]) is None else unpacked(blob, len(slots)) for key in of]
            for of in (self._users, self._items)
        )
        at, places = [one.at for one in self._requests], [SCENES + slots[one.scene] for one in self._requests]
        found = Gathered(clock)
        for grain in self._grains:
            if grain in ("user_item", "past"):
                own = [blobs[key] for key in (self._past if grain == "past" else self._pairs)]
            elif grain == "log_days":
                own = [blobs[LOG]] * len(self._of_user)
            elif grain in _IN_SCENES:
                of = users if grain == "user_scene" else items
                own = [record[place] for record, place in zip(of, places, strict=False)]
            else:
                own = [record[_PLACES[grain]] for record in (users if grain in _OF_USER else items)]
            found.blobs[grain], found.at[grain] = own, at[: len(own)]
            found.position[grain] = [0] * len(at) if self._shared and len(own) == 1 else list(range(len(own)))
        self._put_segments(found, read)
        return found

    def _put_segments(self, found: Gathered, read: Read) -> None:
        """The moments of the hour that a reader's window cuts, into blobs that lack them. A segment never changes."""
        cut = [
            (grain, place, segment_key(grain, self._requests[place], hour), hour)
            for grain in MOMENTS
            if grain in found.blobs
            for place in moments.with_hours(found.blobs[grain])
            if (hour := moments.cut_hour(found.blobs[grain][place], found.at[grain][place])) is not None
        ]
        segments = read([key for _, _, key, _ in cut]) if cut else {}
        for grain, place, key, hour in cut:
            blob, segment = found.blobs[grain][place], segments[key]
            assert blob is not None
            if segment is None:
                raise GoneError(f"hour {hour}")
            found.blobs[grain][place] = moments.with_segment(blob, hour, segment)
