"""What identifies a simulated log, the names of its files, and the error that the commands report."""

from collections.abc import Iterator
from dataclasses import dataclass

from .parameters import MODEL_VERSION, Parameters


class SimulationError(Exception):
    """A message for the user: what was expected, what was found, what to do."""


@dataclass(frozen=True)
class Request:
    """What identifies a log: the same request gives the same bytes, whatever the number of threads."""

    events: int
    seed: int
    parts: int
    format: str  # csv or parquet

    def file_names(self) -> list[str]:
        return [f"antm2c_10m_part{k}.{self.format}" for k in range(self.parts)]

    def identity(self, p: Parameters) -> dict:
        wanted = {"events": self.events, "seed": self.seed, "parts": self.parts, "format": self.format}
        return {"model_version": MODEL_VERSION, "request": wanted, "parameters": p.as_json()}


def difference(wanted: dict, found: dict) -> str:
    """What differs, as text: 'seed is 8 there, 7 was asked for'. Empty if nothing does."""
    differences = []
    if found.get("model_version") != wanted["model_version"]:
        there, here = found.get("model_version"), wanted["model_version"]
        differences.append(f"model_version is {there} there, this program's is {here}")
    differences += [f"{name} is {there} there, {value} was asked for" for name, there, value in _unlike(wanted, found)]
    return "; ".join(differences)


def difference_of_parts(one: dict, other: dict) -> str:
    """What keeps two parts from being of one log: 'seed 7 and 8'. Empty if nothing does."""
    unlike = [] if one["model_version"] == other.get("model_version") else ["versions of the model"]
    unlike += [f"{name} {value} and {there}" for name, there, value in _unlike(one, other)]
    if not unlike and one["derived"] != other.get("derived"):
        unlike.append(f"another world, by other library versions ({one['versions']} and {other.get('versions')})")
    return "; ".join(unlike)


def _unlike(wanted: dict, found: dict) -> Iterator[tuple[str, object, object]]:
    """(name, value found, value wanted) of each thing asked for, and of each parameter, that differs."""
    for group in ("request", "parameters"):
        there = found.get(group, {})
        for name, value in wanted[group].items():
            if there.get(name) != value:
                yield name, there.get(name), value
