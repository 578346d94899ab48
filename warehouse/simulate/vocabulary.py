"""The words of the simulated log, from vocabulary.yaml.

24 topics in 8 groups, title templates by kind of scene and style, and what may vary a word.
"""

from dataclasses import dataclass
from importlib.resources import files

import yaml


@dataclass(frozen=True)
class Topic:
    """One topic: its group (a coarse category), Chinese words in descending order of use, and a few English ones."""

    name: str
    group: int
    words: tuple[str, ...]
    english: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_file = yaml.load(
    files("warehouse.simulate").joinpath("vocabulary.yaml").read_text(encoding="utf-8"),
    getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # the one in C is ten times as fast, and not everywhere
)

TOPICS: tuple[Topic, ...] = tuple(
    Topic(topic["name"], topic["group"], _words(topic["words"]), tuple(topic["english"])) for topic in _file["topics"]
)
SCENE_TOPICS: tuple[tuple[str, ...], ...] = tuple(tuple(names) for names in _file["scene_topics"])
STYLES: tuple[str, ...] = tuple(_file["styles"])
TEMPLATES: tuple[dict[str, tuple[str, ...]], ...] = tuple(
    {style: tuple(titles) for style, titles in by_style.items()} for by_style in _file["templates"]
)
MANNERS = _words(_file["manners"])
CITIES = _words(_file["cities"])
SUFFIXES = _words(_file["suffixes"])
ALTERED: tuple[str, ...] = tuple(_file["altered"])
