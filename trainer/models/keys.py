"""Keys that several models' configs share, each described once; and what all configs have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, ValidationInfo

from trainer.base.strict import Strict
from trainer.contract.schema import Input


class ModelConfig(Strict):
    """What a stage file says under `model`. Each model's file has a `Config` with the keys of its own.

    kind: the model's file, without `.py`. reads: which of the stage's inputs (texts, llm, history, sequence) the model
    can't do without; may_read: which others it uses where the stage gives them. reach: for a model that reads a
    sequence, through how many layers a row sees outcomes that outcomes saw.
    """

    reads: ClassVar[frozenset[str]] = frozenset()
    may_read: ClassVar[frozenset[str]] = frozenset()

    kind: Annotated[str, Field(description="The architecture.")]

    @property
    def reach(self) -> int:
        return 1

    def chosen(self, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
        """Which of the mart's inputs the model reads: all of them, unless its own `Config` says otherwise."""
        return inputs


Width = Annotated[int, Field(ge=1)]
EmbeddingDim = Annotated[int, Field(ge=1, description="Length of the embedding of an id or a category.")]
Hidden = Annotated[list[Width], Field(min_length=1, description="Widths of the body, or of an expert.")]
Dropped = Annotated[float, Field(ge=0, lt=1, description="Share of hidden units dropped.")]
EmbeddingDropped = Annotated[float, Field(ge=0, lt=1, description="Share of single embedding elements dropped.")]
Experts = Annotated[int, Field(ge=1, description="How many experts.")]
SharedExperts = Annotated[int, Field(ge=1, description="Experts of all scenes, in each level.")]
PrivateExperts = Annotated[int, Field(ge=0, description="Experts of each scene alone, in each level.")]
Levels = Annotated[int, Field(ge=1, description="Levels of experts.")]
Tower = Annotated[list[Width], Field(description="Widths of a scene's tower, before its one number.")]
TextSize = Annotated[int, Field(ge=1, description="What a column's text vector is made into.")]
TextDropped = Annotated[float, Field(ge=0, lt=1, description="Share of single elements of text vectors dropped.")]
ContentTowerWidths = Annotated[list[Width], Field(description="Widths of a scene's content tower.")]
GateWidths = Annotated[list[Width], Field(description="Widths of the network that decides alpha.")]
AttentionSize = Annotated[int, Field(ge=1, description="Size of a query, of all heads together.")]
MatchSize = Annotated[int, Field(ge=1, description="Dimensions of the space in which user and item meet.")]
HistoryDropped = Annotated[float, Field(ge=0, lt=1, description="Share dropped of what the attention reports.")]


def _divides(heads: int, info: ValidationInfo) -> int:
    if info.data.get("attention", 0) % heads:
        raise ValueError(f"heads must divide attention, which is {info.data['attention']}")
    return heads


Heads = Annotated[
    int, Field(ge=1, description="Parts of the attention; they divide `attention`."), AfterValidator(_divides)
]
