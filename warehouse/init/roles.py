"""Which column is what: by the answers given, else by names and contents, else by asking."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from warehouse.init import names
from warehouse.init.asking import Asker
from warehouse.init.choice import NONE, Answers, Choice
from warehouse.init.columns import Column, Sample
from warehouse.init.context import choose_context
from warehouse.init.errors import InitError
from warehouse.init.label import choose_label, label_sql
from warehouse.init.names import plain
from warehouse.init.times import choose_known, choose_time, reads_as_time
from warehouse.reading.text import literal

SCENES = 300  # the most that the warehouse takes
GUESSED_SCENES = 50
SEPARATORS = ("|", ";", ",", "/", " ")


@dataclass
class Roles:
    """The columns by what they are. why: of each optional role without a column, and of each column without a role."""

    user: Column
    item: Column
    label: Column
    time: Column
    positive: str | None = None
    time_format: str | None = None
    known: Column | None = None
    scene: Column | None = None
    event_id: Column | None = None
    title: Column | None = None
    entities: Column | None = None
    separator: str = ""
    user_texts: list[Column] = field(default_factory=list)
    dense: list[Column] = field(default_factory=list)
    ids: list[Column] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)


def choose_roles(sample: Sample, answers: Answers, asker: Asker) -> Roles:
    """Role after role. Raises: InitError where an answer doesn't fit the log, or what is needed can't be told."""
    choice = Choice(sample, answers, asker)
    for option in ("user", "item", "label", "time", "known", "scene", "event_id", "title", "entities"):
        if column := choice.given(option):
            choice.take(column)
    user = _who(choice, "user", "Who saw it?", names.USER)
    item = _who(choice, "item", "What was shown?", names.ITEM | names.ITEM_LIST)
    known = choose_known(choice)
    time, time_format = choose_time(choice)
    label, positive = choose_label(choice)
    asker.stop()
    assert user and item and time and label, "each is there or was asked for"
    roles = Roles(user, item, label, time, positive, time_format, known)
    roles.scene = _scene(choice)
    roles.event_id = _event_id(choice)
    roles.title = _optional(choice, "title", names.TITLE, lambda c: c.kind == "text")
    roles.entities = _optional(choice, "entities", names.ENTITIES, lambda c: c.kind in ("text", "list"))
    roles.separator = _separator(choice, roles.entities)
    roles.user_texts = _user_texts(choice)
    roles.dense, roles.ids = choose_context(choice, label_sql(label, positive))
    roles.unused = {name: why for name, why in choice.unused.items() if name not in choice.taken}
    return roles


def _who(choice: Choice, option: str, question: str, wanted: frozenset[str]) -> Column | None:
    if found := choice.given(option):
        if found.kind in ("list", "map", "struct"):
            raise InitError(
                f"--{option} {found.name} is a {found.kind} in the files, expected one id per row"
                + (", or a list of items for one row per page." if option == "item" else ".")
            )
        return found
    fitting = choice.fitting(wanted, lambda c: c.kind in ("text", "number"))
    if not fitting:  # app_user_id, shop_item_no
        ends = re.compile(rf"({option}|{'|'.join(sorted(wanted, key=len, reverse=True))})(id|no|key|hash)?")
        fitting = [c for c in choice.free() if ends.search(plain(c.name)[-14:]) and c.kind in ("text", "number")]
        fitting = [c for c in fitting if re.search(r"(id|no|key|hash)$", plain(c.name))]
    with_id = [c for c in fitting if plain(c.name).endswith("id")]
    exact = [c for c in fitting if plain(c.name.split(".")[-1]) in (option, f"{option}id")]
    fitting = next((one for one in (exact, with_id) if len(one) == 1), fitting)
    candidates = fitting or [c for c in choice.free() if not c.is_truth and not reads_as_time(choice, c)]
    return choice.take(fitting[0]) if len(fitting) == 1 else choice.ask(question, option, candidates)


def _optional(choice: Choice, option: str, wanted: frozenset[str], good: Callable[[Column], bool]) -> Column | None:
    if (found := choice.given(option)) or getattr(choice.answers, option) == NONE:
        return found
    fitting = choice.fitting(wanted, good)
    return choice.take(fitting[0]) if fitting else None


def _scene(choice: Choice) -> Column | None:
    if found := choice.given("scene"):
        if not 0 < found.n_different <= SCENES:
            raise InitError(
                f"--scene {found.name} has {found.n_different} different values, expected 1 to {SCENES}. "
                "Group them in the adapter, or choose another column."
            )
        return found
    if choice.answers.scene == NONE:
        return None
    fitting = choice.fitting(names.SCENE, lambda c: 2 <= c.n_different <= GUESSED_SCENES and c.share_there > 0.99)
    return choice.take(fitting[0]) if fitting else None


def _event_id(choice: Choice) -> Column | None:
    if (found := choice.given("event_id")) or choice.answers.event_id == NONE:
        if found and not found.is_unique:
            raise InitError(
                f"--event-id {found.name} repeats or is missing in some rows, so it is no id of an impression."
                + (" In a log of pages it names the page." if choice.sample.lists else "")
            )
        return found
    for column in choice.fitting(names.EVENT_ID | {"id"}):
        if column.is_unique:
            return choice.take(column)
        choice.unused[column.name] = "repeats, so it is no id of an impression"
    return None


def _separator(choice: Choice, column: Column | None) -> str:
    """The sign that most often stands between short texts; for a list, one that no entity holds."""
    if column is None:
        return ""
    if column.kind == "list":
        signs = [
            s
            for s in SEPARATORS
            if not choice.sample.share(f"contains(array_to_string({column.sql}, ''), {literal(s)})")
        ]
        return signs[0] if signs else "\x1f"
    shares = {sign: choice.sample.share(f"contains({column.sql}, {literal(sign)})") for sign in SEPARATORS}
    best = max(shares, key=lambda sign: shares[sign])
    strong = [sign for sign in SEPARATORS[:-1] if shares[sign] > 0.02]
    best = max(strong, key=lambda sign: shares[sign]) if strong else best
    return best if shares[best] > 0.02 else ""


def _user_texts(choice: Choice) -> list[Column]:
    given = choice.answers.user_texts
    if given is not None:
        return [] if given == NONE else [choice.take(choice.named(n.strip(), "user_texts")) for n in given.split(",")]
    return [choice.take(column) for column in choice.fitting(names.USER_TEXT, lambda c: c.kind == "text")]
