"""Which column is what: by the answers given, else by names and contents, else by asking."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from warehouse.init import names
from warehouse.init.asking import Asker
from warehouse.init.columns import MANY, Column, Sample
from warehouse.init.errors import InitError
from warehouse.init.macros import macro
from warehouse.init.names import plain, slug
from warehouse.reading.text import literal

TELLS = 0.95  # AUC from which on a column is taken for another form of the label
NONE = "none"  # an answer: the log has no such column
SCENES = 300  # the most that the warehouse takes
GUESSED_SCENES = 50
SEPARATORS = ("|", ";", ",", "/", " ")


@dataclass(frozen=True)
class Answers:
    """What the options say beforehand: names of columns, or `none`; None where nothing was said."""

    user: str | None = None
    item: str | None = None
    label: str | None = None
    positive: str | None = None
    time: str | None = None
    time_format: str | None = None
    known: str | None = None
    scene: str | None = None
    event_id: str | None = None
    title: str | None = None
    entities: str | None = None
    user_texts: str | None = None
    context: str | None = None


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


class Guess:
    """Decides role after role; a column has one role."""

    def __init__(self, sample: Sample, answers: Answers, asker: Asker) -> None:
        self.sample, self.answers, self.asker = sample, answers, asker
        self.taken: set[str] = set()
        self.unused: dict[str, str] = {}

    def roles(self) -> Roles:
        for option in ("user", "item", "label", "time", "known", "scene", "event_id", "title", "entities"):
            given = getattr(self.answers, option)
            if given and given != NONE:
                self.taken.add(self._named(given, option).name)
        user = self._who("user", "Who saw it?", names.USER)
        item = self._who("item", "What was shown?", names.ITEM | names.ITEM_LIST)
        known = self._known()
        time, time_format = self._time()
        label, positive = self._label()
        self.asker.stop()
        assert user and item and time and label, "each is there or was asked for"
        roles = Roles(user, item, label, time, positive, time_format, known)
        roles.scene = self._scene()
        roles.event_id = self._event_id()
        roles.title = self._optional("title", names.TITLE, lambda c: c.kind == "text")
        roles.entities = self._optional("entities", names.ENTITIES, lambda c: c.kind in ("text", "list"))
        roles.separator = self._separator(roles.entities)
        roles.user_texts = self._user_texts()
        roles.dense, roles.ids = self._context(label_sql(label, positive))
        roles.unused = {name: why for name, why in self.unused.items() if name not in self.taken}
        return roles

    # ---- names to columns

    def _named(self, name: str, option: str) -> Column:
        if name in self.sample.columns:
            return self.sample.columns[name]
        of_list = [c for c in self.sample.columns if c.startswith(f"{name}.")]
        if len(of_list) == 1 or (of_list and option in ("item", "label")):
            wanted = {"item": names.ITEM | {"item"}, "label": names.LABEL}.get(option, frozenset())
            fitting = [c for c in of_list if plain(c[len(name) + 1 :]) in wanted] or of_list
            if len(fitting) == 1:
                return self.sample.columns[fitting[0]]
        raise InitError(
            f"--{option.replace('_', '-')} {name}: the log has no such column. It has {', '.join(self.sample.columns)}."
        )

    def _free(self) -> list[Column]:
        return [column for column in self.sample.columns.values() if column.name not in self.taken]

    def _take(self, column: Column) -> Column:
        self.taken.add(column.name)
        return column

    def _fitting(self, wanted: frozenset[str], good: Callable[[Column], bool] = lambda _: True) -> list[Column]:
        return [c for c in self._free() if plain(c.name.split(".")[-1]) in wanted and c.share_there > 0 and good(c)]

    def _given(self, option: str) -> Column | None:
        given = getattr(self.answers, option)
        return self._named(given, option) if given and given != NONE else None

    def _ask(self, question: str, option: str, candidates: list[Column]) -> Column | None:
        def check(answer: str) -> str | None:
            there = answer in self.sample.columns
            return None if there else f"The log has no column {answer}. It has {', '.join(self.sample.columns)}."

        shown = [(column.name, about(column)) for column in candidates or self._free()]
        answer = self.asker.ask(question, f"--{option} COLUMN", shown, check)
        return self._take(self.sample.columns[answer]) if answer else None

    def _who(self, option: str, question: str, wanted: frozenset[str]) -> Column | None:
        if found := self._given(option):
            if found.kind in ("list", "map", "struct"):
                raise InitError(
                    f"--{option} {found.name} is a {found.kind} in the files, expected one id per row"
                    + (", or a list of items for one row per page." if option == "item" else ".")
                )
            return found
        fitting = self._fitting(wanted, lambda c: c.kind in ("text", "number"))
        if not fitting:  # app_user_id, shop_item_no
            ends = re.compile(rf"({option}|{'|'.join(sorted(wanted, key=len, reverse=True))})(id|no|key|hash)?")
            fitting = [c for c in self._free() if ends.search(plain(c.name)[-14:]) and c.kind in ("text", "number")]
            fitting = [c for c in fitting if re.search(r"(id|no|key|hash)$", plain(c.name))]
        with_id = [c for c in fitting if plain(c.name).endswith("id")]
        exact = [c for c in fitting if plain(c.name.split(".")[-1]) in (option, f"{option}id")]
        fitting = next((one for one in (exact, with_id) if len(one) == 1), fitting)
        candidates = fitting or [c for c in self._free() if not c.is_truth and not self._reads_as_time(c)]
        return self._take(fitting[0]) if len(fitting) == 1 else self._ask(question, option, candidates)

    # ---- times

    def _known(self) -> Column | None:
        if (found := self._given("known")) or self.answers.known == NONE:
            if found and not found.is_time:
                raise InitError(f"--known {found.name} {_unreadable(found)}")
            return found
        fitting = self._fitting(names.KNOWN, lambda c: c.is_time and c.share_there > 0.99)
        return self._take(fitting[0]) if len(fitting) == 1 else None

    def _time(self) -> tuple[Column | None, str | None]:
        column = self._given("time")
        if column is None:
            named = self._fitting(names.TIME, lambda c: c.kind in ("text", "number", "time"))
            fitting = [c for c in named if c.is_time or self.sample.time_formats(c) or self.answers.time_format]
            if not fitting:  # by what it holds, unless it might be an id
                fitting = [c for c in self._free() if c.share_there > 0.95 and self._reads_as_time(c)]
            if len(fitting) > 1:
                finest = [c for c in fitting if c.n_different == max(one.n_different for one in fitting)]
                by_name = [c for c in named if c in fitting]
                fitting = finest if len(finest) == 1 and finest == by_name[:1] else fitting
            if not fitting and named:
                raise InitError(f"Column {named[0].name} {_unreadable(named[0])}")
            column = self._take(fitting[0]) if len(fitting) == 1 else self._ask("When was it shown?", "time", fitting)
        return column, self._time_format(column) if column else None

    def _reads_as_time(self, column: Column) -> bool:
        """Whether a column is a time by its values, and can't be an id."""
        is_text = column.kind in ("text", "time") and not column.is_number and column.length >= 8
        return is_text and (column.is_time or bool(self.sample.time_formats(column)))

    def _time_format(self, column: Column) -> str | None:
        given = self.answers.time_format
        if given:
            if not self.sample.reads(column, given):
                raise InitError(
                    f"--time-format {given} doesn't read column {column.name}, which holds {_examples(column)}. "
                    "It is strptime's, such as %d.%m.%Y %H:%M."
                )
            return given
        if column.is_time:
            return None
        fitting = self.sample.time_formats(column)
        if not fitting:
            raise InitError(f"Column {column.name} {_unreadable(column)}")
        if len(fitting) == 1:
            return fitting[0]
        known = [(one, "") for one in fitting]
        question = f"Column {column.name} holds {_examples(column)}: which format is it?"
        return self.asker.ask(
            question, "--time-format FORMAT", known,
            lambda answer: None if self.sample.reads(column, answer) else "That doesn't read the column.",
        )  # fmt: skip

    # ---- the label

    def _label(self) -> tuple[Column | None, str | None]:
        column = self._given("label")
        if column is None:
            fitting = self._fitting(names.LABEL, lambda c: c.kind in ("text", "number", "boolean"))
            truths = [c for c in self._free() if c.is_truth and c.n_different == 2]
            other = [c for c in truths if c not in fitting and is_outcome(c.name)]
            sure = [c for c in fitting if plain(c.name.split(".")[-1]) in names.SURE_LABEL]
            candidates = sure if len(sure) == 1 else [*fitting, *other]
            if not candidates:
                column = self._ask("Which column is the label?", "label", truths)
            elif len(candidates) == 1:
                column = self._take(candidates[0])
            else:
                column = self._ask("Several columns may be the label: which?", "label", candidates)
        if column is None:
            return None, None
        return column, self._positive(column)

    def _positive(self, column: Column) -> str | None:
        given = self.answers.positive
        if given is None and column.is_truth:
            return None
        if column.kind in ("list", "map", "struct", "time"):
            raise InitError(f"--label {column.name} is a {column.kind} in the files, expected 0 or 1, or a rating.")
        values = self.sample.counts(column)

        def check(answer: str) -> str | None:
            share = self.sample.share(f"{label_sql(column, answer)} = 1")
            if 0 < share < 1:
                return None
            rows = "no row" if share == 0 else "every row"
            return f"{answer} makes {rows} positive. The column holds {_examples(column)}."

        if given is not None:
            if wrong := check(given):
                raise InitError(f"--positive {wrong}")
            return given
        if not values:
            raise InitError(f"The label {column.name} is empty in all rows. Choose another column with --label.")
        suggested = [(value, share) for value, share in values]
        if column.is_number:
            steps = sorted({float(value) for value, _ in values})[1:]
            cuts = [f">={step:g}" for step in steps]
            suggested = [(f"'{cut}'", self.sample.share(f"{label_sql(column, cut)} = 1")) for cut in cuts]
        question = f"The label {column.name} isn't 0 or 1, but holds {_examples(column)}. Which values are positive?"
        shown = [(value, f"{share:.1%} of the rows") for value, share in suggested]
        answer = self.asker.ask(question, "--positive VALUES", shown, lambda answer: check(answer.strip("'")))
        return answer.strip("'") if answer else None

    # ---- what a log may lack

    def _optional(self, option: str, wanted: frozenset[str], good: Callable[[Column], bool]) -> Column | None:
        if (found := self._given(option)) or getattr(self.answers, option) == NONE:
            return found
        fitting = self._fitting(wanted, good)
        return self._take(fitting[0]) if fitting else None

    def _scene(self) -> Column | None:
        if found := self._given("scene"):
            if not 0 < found.n_different <= SCENES:
                raise InitError(
                    f"--scene {found.name} has {found.n_different} different values, expected 1 to {SCENES}. "
                    "Group them in the adapter, or choose another column."
                )
            return found
        if self.answers.scene == NONE:
            return None
        fitting = self._fitting(names.SCENE, lambda c: 2 <= c.n_different <= GUESSED_SCENES and c.share_there > 0.99)
        return self._take(fitting[0]) if fitting else None

    def _event_id(self) -> Column | None:
        if (found := self._given("event_id")) or self.answers.event_id == NONE:
            if found and not found.is_unique:
                raise InitError(
                    f"--event-id {found.name} repeats or is missing in some rows, so it is no id of an impression."
                    + (" In a log of pages it names the page." if self.sample.lists else "")
                )
            return found
        for column in self._fitting(names.EVENT_ID | {"id"}):
            if column.is_unique:
                return self._take(column)
            self.unused[column.name] = "repeats, so it is no id of an impression"
        return None

    def _separator(self, column: Column | None) -> str:
        """The sign that most often stands between short texts; for a list, one that no entity holds."""
        if column is None:
            return ""
        if column.kind == "list":
            signs = [
                s
                for s in SEPARATORS
                if not self.sample.share(f"contains(array_to_string({column.sql}, ''), {literal(s)})")
            ]
            return signs[0] if signs else "\x1f"
        shares = {sign: self.sample.share(f"contains({column.sql}, {literal(sign)})") for sign in SEPARATORS}
        best = max(shares, key=lambda sign: shares[sign])
        strong = [sign for sign in SEPARATORS[:-1] if shares[sign] > 0.02]
        best = max(strong, key=lambda sign: shares[sign]) if strong else best
        return best if shares[best] > 0.02 else ""

    def _user_texts(self) -> list[Column]:
        given = self.answers.user_texts
        if given is not None:
            return [] if given == NONE else [self._take(self._named(n.strip(), "user_texts")) for n in given.split(",")]
        return [self._take(column) for column in self._fitting(names.USER_TEXT, lambda c: c.kind == "text")]

    def _context(self, label: str) -> tuple[list[Column], list[Column]]:
        given = self.answers.context
        if given is not None:
            chosen = [] if given == NONE else [self._named(name.strip(), "context") for name in given.split(",")]
            for column in chosen:
                self._take(column)
            for column in self._free():
                self.unused.setdefault(column.name, "not in --context")
        else:
            chosen = []
            for column in self._free():
                why = self.unused.get(column.name) or self._why_not_context(column, label)
                if why:
                    self.unused[column.name] = why
                else:
                    chosen.append(self._take(column))
        dense = [column for column in chosen if is_measure(column)]
        return dense, [column for column in chosen if column not in dense]

    def _why_not_context(self, column: Column, label: str) -> str | None:
        if column.kind in ("list", "map", "struct"):
            return f"a {column.kind}: take what you need of it in the adapter"
        if column.share_there == 0 or column.n_different <= 1:
            return "the same in every row, or empty"
        if is_outcome(column.name):
            return "another outcome, by its name: known only afterwards"
        if column.is_truth and column.n_different == 2:
            return "0 or 1, so perhaps another outcome: --context takes it"
        auc = self.sample.tells(column, label)
        if auc > TELLS:
            return f"tells the label by itself (AUC {auc:.2f}): known only afterwards?"
        if column.is_time and (column.kind == "time" or not column.is_number):
            return "another time"
        if not column.is_number and (column.n_different > MANY or column.length > 60):
            return f"{column.n_different:,} different texts; --user-texts takes texts about the user"
        is_whole = not any("." in example for example in column.examples)
        if column.is_unique and is_whole:
            return "different in every row"
        if is_id(column.name) and is_whole and column.n_different > self.sample.n_rows / 5:
            return "an id with few rows each"
        blanks = f"contains(trim({column.sql}), ' ')"
        if not column.is_number and column.n_different > 50 and self.sample.share(blanks) > 0.3:
            return "a text or a list of several words"
        return None


def label_sql(column: Column, positive: str | None) -> str:
    """SQL in table `flat`: 1, 0, or NULL where the label can't be read."""
    if positive is None:
        return f"case when {macro('truth')(column.sql)} in (0, 1) then cast({macro('truth')(column.sql)} as int) end"
    return f"try_cast({label_case(column.sql, positive)} as int)"


def label_case(value: str, positive: str) -> str:
    """SQL for an adapter's label by `--positive`: '>=4', or the positive values with commas between them."""
    threshold = re.fullmatch(r">= *([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)", positive.strip())
    if threshold:
        number, at = f"try_cast({value} as double)", threshold[1]
        # Infinity and NaN, which DuckDB takes for the largest number, stay as they are: staging rejects them.
        return f"case when {number} between {at} and 1e300 then '1' when {number} < {at} then '0' else {value} end"
    listed = ", ".join(literal(one.strip()) for one in positive.split(","))
    return f"case when trim({value}) in ({listed}) then '1' when trim({value}) <> '' then '0' end"


def is_outcome(name: str) -> bool:
    return any(word in names.OUTCOME for word in names.words(name))


def is_id(name: str) -> bool:
    return bool(re.search(r"(id|key|no|hash|uuid|session|request|page|row|index)$", plain(name)))


def is_measure(column: Column) -> bool:
    """A number to compute with, rather than the name of a category."""
    if not column.is_number or column.kind == "boolean" or (column.kind == "text" and column.is_truth):
        return False
    return not re.search(r"(id|code|type|zip|zipcode|category|cat|gender|class|flag)$", plain(column.name))


def about(column: Column) -> str:
    return f"{column.kind}, {column.n_different:,} different: {_examples(column)}"


def _examples(column: Column) -> str:
    return (
        ", ".join(example if len(example) <= 30 else f"{example[:27]}..." for example in column.examples) or "nothing"
    )


def _unreadable(column: Column) -> str:
    return (
        f"holds {_examples(column)}, which is no time that the warehouse reads (2024-03-01 09:05:30, with or without a "
        "zone; Unix seconds, milliseconds or microseconds: docs/bring-your-own-log.md#times). Say how to read it with "
        "--time-format, such as '%d.%m.%Y %H:%M', or name another column with --time."
    )


def feature_names(columns: list[Column], taken: set[str]) -> list[str]:
    """Names for the lists ctx_dense, ctx_ids and user_text_parts: as SQL and YAML take them, each once."""
    found = []
    for column in columns:
        name = slug(column.name.split(".")[-1])
        while name in taken:
            name += "_2"
        taken.add(name)
        found.append(name)
    return found
