"""What a step or a model of the mart's SQL offers to those that read it: columns as formulas of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field


class NotServedError(Exception):
    """A column can't be computed from a row and what is supplied; the message says why."""


@dataclass
class Relation:
    """Columns by name: the id of a formula, or why there is none. keys: columns a join on which finds the right row."""

    columns: dict[str, str | NotServedError] = field(default_factory=dict)
    otherwise: NotServedError | None = None  # of every name that isn't in columns
    keys: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        return name in self.columns or self.otherwise is not None

    def find(self, name: str) -> str:
        """Raises: NotServedError."""
        found = self.columns.get(name, self.otherwise)
        if found is None or isinstance(found, NotServedError):
            raise found or NotServedError(f"there is no column {name}")
        return found


@dataclass(frozen=True)
class Supplied:
    """What takes the place of a step (`windowed` of feat_user_v2), or of a whole model (step ""): column -> formula id.

    keys: columns that tell which row it is, and that the supplier has already looked up.
    """

    columns: Mapping[str, str]
    keys: frozenset[str] = frozenset()


def supplied_relation(supplied: Supplied, where: str) -> Relation:
    columns: dict[str, str | NotServedError] = dict(supplied.columns)
    return Relation(
        columns,
        NotServedError(f"neither the request nor the state has it: it would be a column of {where}"),
        supplied.keys,
    )


def formula_of(names: list[str], sources: list[tuple[str, Relation]], earlier: Relation) -> tuple[str, ...]:
    """The formula of a name, then the fields taken of it. Raises: NotServedError."""
    names = [name.lower() for name in names]
    if len(names) > 1:
        for alias, relation in sources:
            if alias == names[0]:
                return (relation.find(names[1]), *names[2:])
    for _, relation in sources:
        if names[0] in relation.columns:
            return (relation.find(names[0]), *names[1:])
    if names[0] in earlier.columns:
        return (earlier.find(names[0]), *names[1:])
    for _, relation in sources:
        if names[0] in relation:
            return (relation.find(names[0]), *names[1:])
    raise NotServedError(f"there is no column {'.'.join(names)}")


class Steps(Mapping[str, Relation]):
    """The steps (CTEs) of a query, each read when it is first asked for."""

    def __init__(self, outer: Mapping[str, Relation]):
        self.outer, self.done = outer, dict[str, Relation]()
        self.waiting: dict[str, Callable[[], Relation]] = {}

    def __getitem__(self, name: str) -> Relation:
        if name not in self.done:
            self.done[name] = self.waiting[name]() if name in self.waiting else self.outer[name]
        return self.done[name]

    def __contains__(self, name: object) -> bool:
        return name in self.done or name in self.waiting or name in self.outer

    def __iter__(self) -> Iterator[str]:
        return iter({*self.done, *self.waiting, *self.outer})

    def __len__(self) -> int:
        return len({*self.done, *self.waiting, *self.outer})
