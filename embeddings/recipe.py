"""What makes two vectors comparable: the encoder, its revision, and every choice between text and vector."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from embeddings.errors import EmbeddingsError
from embeddings.head import parse_pooling

DTYPES = ("int8", "bf16", "fp32")
FROM_LOG = "cooccurrence"  # names stores whose vectors come from the log; their revision is a hash of its counts
_SLOT = "{text}"
HAN = r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"  # one Chinese character
_LATIN_WORD = re.compile(r"[A-Za-z]+")


def is_chinese(text: str) -> bool:
    """True where Han characters are at least as many as Latin words (a Han character is about a word)."""
    n_han = len(re.findall(HAN, text))
    return n_han > 0 and n_han >= len(_LATIN_WORD.findall(text))


@dataclass(frozen=True)
class Template:
    """What is written around a text before it is encoded; `zh` for Chinese texts where it is given."""

    default: str = _SLOT
    zh: str | None = None

    def __post_init__(self) -> None:
        for template in (self.default, self.zh):
            if template is not None and template.count(_SLOT) != 1:
                raise EmbeddingsError(
                    f"A template has to contain {_SLOT} exactly once, but {template!r} contains it"
                    f" {template.count(_SLOT)} times. Write for example --template 'query: {_SLOT}'."
                )

    def around(self, text: str) -> tuple[str, str]:
        """The parts before and after this text."""
        template = self.zh if self.zh is not None and is_chinese(text) else self.default
        before, after = template.split(_SLOT)
        return before, after

    def render(self, text: str) -> str:
        # Not str.format: a text or a template may hold braces of its own.
        before, after = self.around(text)
        return before + text + after

    @property
    def is_plain(self) -> bool:
        return self.default == _SLOT and self.zh is None


@dataclass(frozen=True)
class Recipe:
    """Everything that a vector depends on besides its text. Vectors of different recipes never share a store.

    `steps` are the modules between pooling and the last normalisation, in words; their weights are part of `revision`.
    `device` is "cpu" or "cuda": they round differently, so a store is continued on the kind of device it was begun on.
    """

    encoder: str
    revision: str
    pooling: str
    template: Template
    normalize: bool
    max_tokens: int
    dtype: str
    steps: tuple[str, ...] = ()
    lower_case: bool = False
    prompt_in_pooling: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise EmbeddingsError(f"Unknown dtype {self.dtype!r}: expected one of {', '.join(DTYPES)}.")
        parse_pooling(self.pooling)

    @property
    def key(self) -> str:
        """The name of the store's folder: readable first, then enough of a hash to be unique."""
        digest = hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()
        slug = re.sub(r"[^a-z0-9]+", "-", self.encoder.lower().rstrip("/").rsplit("/", 1)[-1]).strip("-")
        pooling = self.pooling.replace("+", "-").replace("_", "-")
        return f"{slug or 'encoder'}-{pooling}-{self.dtype}-{digest[:10]}"

    @property
    def is_from_log(self) -> bool:
        """Whether the vectors come from the train rows of one mart, and mean nothing for those of another."""
        return self.encoder == FROM_LOG

    def as_dict(self) -> dict:
        """As stores keep it. What most recipes don't have is left out, so that their keys stay what they were."""
        fields = asdict(self) | {"steps": list(self.steps)}
        usual = {"steps": [], "lower_case": False, "prompt_in_pooling": True, "device": "cpu"}
        return {name: value for name, value in fields.items() if name not in usual or value != usual[name]}

    @classmethod
    def from_dict(cls, fields: dict) -> Recipe:
        steps = tuple(fields.get("steps", ()))
        return cls(**{**fields, "template": Template(**fields["template"]), "steps": steps})
