"""Copies descriptions of columns from one model's yml to another's, so that a column is described once.

    python -m warehouse.contract            writes every copy below warehouse/models again (make contract)
    python -m warehouse.contract --check    changes nothing, and fails if a copy differs from its original

A copy stands between two comments in the list of a model's columns:

    # copied: feat_user v1
    # end
    # copied: feat_scene v1: prior_rate, scene_n_*
    # end

The first takes all that feat_user v1 knows, which leaves out its key and its time; the second takes the columns that
match, whatever they are. Both keep the original's order. What stands outside is the file's own.
"""

import difflib
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from storage import atomic

MODELS = Path(__file__).parent / "models"
BEGIN = re.compile(r"^(?P<indent> *)# copied:(?P<what>.*)$")
WHAT = re.compile(r" (?P<model>\w+) v(?P<version>\d+)(?:: (?P<patterns>.+))?")
END = "# end"
IDENTIFIES = {"key", "time", "scene"}  # roles of the columns that make a row of a feature model


class Column(NamedTuple):
    """A column as its yml describes it."""

    name: str
    role: str | None
    lines: list[str]  # without the indentation of the list


class ContractError(Exception):
    """Caused by the yml. The message says where, what was expected and what to do."""


def described_columns(text: str) -> Iterator[tuple[str, int, list[Column]]]:
    """(model, version, columns) of each version in a yml file."""
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    models = _value(document, "models") if isinstance(document, yaml.MappingNode) else None
    for model in models.value if models else []:
        versions = _value(model, "versions")
        for version in versions.value if versions else []:
            columns = _value(version, "columns") or _value(model, "columns")
            if columns is not None:
                name, number = _value(model, "name").value, int(_value(version, "v").value)
                yield name, number, [_column(node, text.splitlines()) for node in columns.value]


def _value(node: yaml.MappingNode, key: str) -> Any:
    return next((value for name, value in node.value if name.value == key), None)


def _column(node: yaml.MappingNode, lines: list[str]) -> Column:
    start, end = node.start_mark, node.end_mark
    last = end.line + node.flow_style  # `{...}` ends on its own line, a block before the next thing in the file
    while not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#"):
        last -= 1
    own = [line[start.column - 2 :] for line in lines[start.line : last]]
    described = yaml.safe_load("\n".join(own))[0]
    return Column(described["name"], described.get("config", {}).get("meta", {}).get("role"), own)


def with_copies(text: str, place: str, columns: dict[tuple[str, int], list[Column]], unmatched: list[str]) -> str:
    """A yml file with its copies written again; `unmatched` gets the patterns that match nothing (yet).

    Raises: ContractError naming `place` and the comment.
    """
    if "# copied:" not in text:
        return text
    written: list[str] = []
    copying = ""
    for line in text.splitlines():
        if not (begin := BEGIN.match(line)):
            if copying and line.strip() == END:
                copying = ""
            if not copying:
                written.append(line)
            continue
        where = f"{place}: `{line.strip()}`"
        if copying:
            raise ContractError(f"{where} stands before the `{END}` of {copying}. Put `{END}` on a line between them.")
        copying = where
        written.append(line)
        for column in _chosen(begin["what"], where, columns, unmatched):
            written += [begin["indent"] + each for each in column.lines]
    if copying:
        raise ContractError(f"{copying} has no `{END}` after it. Put `{END}` on a line of its own after the copy.")
    return "\n".join([*written, ""])


def _chosen(what: str, where: str, columns: dict[tuple[str, int], list[Column]], unmatched: list[str]) -> list[Column]:
    asked = WHAT.fullmatch(what.rstrip())
    if not asked:
        raise ContractError(
            f"{where}: expected `# copied: <model> v<version>`, or that and `: <column>, <pattern> ...`."
        )
    described = columns.get((asked["model"], int(asked["version"])))
    if described is None:
        there = ", ".join(f"{model} v{version}" for model, version in sorted(columns))
        raise ContractError(f"{where}: no yml describes {asked['model']} v{asked['version']}, only {there}.")
    if asked["patterns"] is None:
        return [column for column in described if column.role not in IDENTIFIES]
    patterns = [pattern.strip() for pattern in asked["patterns"].split(",")]
    chosen = [column for column in described if any(fnmatchcase(column.name, pattern) for pattern in patterns)]
    for pattern in patterns:
        if not any(fnmatchcase(column.name, pattern) for column in chosen):
            unmatched.append(
                f"{where}: no column of {asked['model']} v{asked['version']} matches {pattern}: "
                f"{', '.join(column.name for column in described)}."
            )
    return chosen


def rewritten(folder: Path) -> dict[Path, str]:
    """The text of each yml file below `folder` with its copies written again.

    A copy may be of a copy: files are rewritten until nothing changes.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.y*ml"))}
    for _ in range(10):
        columns = {
            (model, version): found for text in texts.values() for model, version, found in described_columns(text)
        }
        unmatched: list[str] = []
        after = {path: with_copies(text, str(path), columns, unmatched) for path, text in texts.items()}
        if after == texts:
            if unmatched:
                raise ContractError(unmatched[0])
            return after
        texts = after
    raise ContractError(f"The copies below {folder} are copies of each other: each needs an original.")


def main(arguments: list[str]) -> int:
    """Print what changes, and write it unless there is --check."""
    try:
        after = rewritten(MODELS)
    except ContractError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    stale = {path: text for path, text in after.items() if path.read_text() != text}
    for path, text in stale.items():
        lines = difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), str(path), "originals", n=1)
        print("\n".join(line.rstrip("\n") for line in lines))
        if "--check" not in arguments:
            atomic.text(path, text)
            print(f"Wrote {path}")
    if "--check" in arguments and stale:
        print("Error: copies differ from their originals. Run python -m warehouse.contract.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
