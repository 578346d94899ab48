"""Stage files: one complete YAML a rung, strict. An unknown key is an error that names it and the nearest right one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from trainer.base.errors import TrainerError, nearest

STAGES = Path(__file__).parent / "stages"
_LARGEST = 100_000  # bytes of a stage file


Width = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TextsConfig(_Strict):
    """Which vectors of texts a stage reads."""

    encoder: Annotated[str, Field(description="The encoder whose vectors are read: its name, or the key of a store.")]
    dimensions: Annotated[int, Field(ge=1, description="Vectors are whitened to this many dimensions.")]
    min_text_coverage: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Least share of train's distinct texts that must have a vector; below it the fit stops.",
        ),
    ]


class InputsConfig(_Strict):
    """What a stage makes of the columns. TextsConfig, llm and history: only for stages whose model reads them."""

    min_count: Annotated[int, Field(ge=1, description="Values rarer than this in train share the row of the unseen.")]
    clip: Annotated[
        float, Field(gt=0, description="Numbers are cut off at this many standard deviations from their mean.")
    ]
    texts: Annotated[TextsConfig | None, Field(description="Vectors of titles and entities.")] = None
    llm: Annotated[
        TextsConfig | None, Field(description="A language model's vectors, read for cold rows alone.")
    ] = None
    history: Annotated[
        Annotated[int, Field(ge=1)] | None, Field(description="How many of the latest outcomes of a user are read.")
    ] = None


class Gbdt(_Strict):
    """Gradient-boosted trees, by LightGBM."""

    kind: Annotated[Literal["gbdt"], Field(description="Trees.")]
    learning_rate: Annotated[float, Field(gt=0, le=1, description="What each tree is multiplied by.")]
    max_iter: Annotated[int, Field(ge=1, description="Trees at most.")]
    max_leaf_nodes: Annotated[int, Field(ge=2, description="Leaves of a tree at most.")]
    min_samples_leaf: Annotated[int, Field(ge=1, description="Rows in a leaf at least.")]
    l2_regularization: Annotated[float, Field(ge=0, description="Penalty on the values of the leaves.")]
    max_features: Annotated[float, Field(gt=0, le=1, description="Share of the features that a split may choose from.")]
    patience: Annotated[int, Field(ge=1, description="Trees without a better validation log loss before stopping.")]
    max_values: Annotated[
        int,
        Field(
            ge=1,
            le=253,
            description="Categories kept a feature, the most frequent ones; the rest is one more (255 bins in all).",
        ),
    ]
    max_train_rows: Annotated[
        int,
        Field(ge=1, description="Beyond it, training uses an even sample (all rows are held as float32 at once)."),
    ]


class Dnn(_Strict):
    """Embeddings and one body, with a head a scene."""

    kind: Annotated[Literal["dnn"], Field(description="The architecture.")]
    embedding_dim: Annotated[int, Field(ge=1, description="Length of the embedding of an id or a category.")]
    hidden: Annotated[list[Width], Field(min_length=1, description="Widths of the body, or of an expert.")]
    dropout: Annotated[float, Field(ge=0, lt=1, description="Share of hidden units dropped.")]
    embedding_dropout: Annotated[float, Field(ge=0, lt=1, description="Share of single embedding elements dropped.")]


class Mmoe(Dnn):
    """Experts that all scenes share, mixed by a gate a scene."""

    kind: Annotated[Literal["mmoe"], Field(description="The architecture.")]  # type: ignore[assignment]
    experts: Annotated[int, Field(ge=1, description="How many experts.")]
    tower: Annotated[list[Width], Field(description="Widths of a scene's tower, before its one number.")]


class Ple(Dnn):
    """Shared experts and experts of each scene alone, in levels."""

    kind: Annotated[Literal["ple"], Field(description="The architecture.")]  # type: ignore[assignment]
    shared: Annotated[int, Field(ge=1, description="Experts of all scenes, in each level.")]
    private: Annotated[int, Field(ge=0, description="Experts of each scene alone, in each level.")]
    levels: Annotated[int, Field(ge=1, description="Levels of experts.")]
    tower: Annotated[list[Width], Field(description="Widths of a scene's tower, before its one number.")]


class Semantic(Ple):
    """PLE with texts among its inputs."""

    kind: Annotated[Literal["semantic"], Field(description="The architecture.")]  # type: ignore[assignment]
    text_size: Annotated[int, Field(ge=1, description="What a column's text vector is made into.")]
    text_dropout: Annotated[float, Field(ge=0, lt=1, description="Share of single elements of text vectors dropped.")]


class ContentTower(Semantic):
    """Beside it a tower a scene on the texts alone, mixed by alpha."""

    kind: Annotated[Literal["content_tower"], Field(description="The architecture.")]  # type: ignore[assignment]
    content: Annotated[list[Width], Field(description="Widths of a scene's content tower.")]
    gate: Annotated[list[Width], Field(description="Widths of the network that decides alpha.")]


class LlmFallback(ContentTower):
    """The content tower with a language model's vectors in cold rows."""

    kind: Annotated[Literal["llm_fallback"], Field(description="The architecture.")]  # type: ignore[assignment]


class Star(Dnn):
    """Weights of a scene times shared weights."""

    kind: Annotated[Literal["star"], Field(description="The architecture.")]  # type: ignore[assignment]
    auxiliary: Annotated[int, Field(ge=1, description="Hidden width of the network that sees the scene alone.")]


class Pepnet(Dnn):
    """Gates by scene and by ids on embeddings and hidden units."""

    kind: Annotated[Literal["pepnet"], Field(description="The architecture.")]  # type: ignore[assignment]
    gate: Annotated[int, Field(ge=1, description="Hidden width of the gates.")]


class Interest(Semantic):
    """Attention over the user's latest outcomes."""

    kind: Annotated[Literal["interest"], Field(description="The architecture.")]  # type: ignore[assignment]
    attention: Annotated[int, Field(ge=1, description="Size of a query, of all heads together.")]
    heads: Annotated[int, Field(ge=1, description="Parts of the attention; they divide `attention`.")]
    history_dropout: Annotated[float, Field(ge=0, lt=1, description="Share dropped of what the attention reports.")]

    @field_validator("heads")
    @classmethod
    def _divides(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("attention", 0) % heads:
            raise ValueError(f"heads must divide attention, which is {info.data['attention']}")
        return heads


class Matching(Interest):
    """The attention, and how well the user fits the item."""

    kind: Annotated[Literal["match"], Field(description="The architecture.")]  # type: ignore[assignment]
    match: Annotated[int, Field(ge=1, description="Dimensions of the space in which user and item meet.")]


Network = Dnn | Mmoe | Ple | Semantic | ContentTower | LlmFallback | Star | Pepnet | Interest | Matching
# What a model reads beside ids and numbers. Interest can do without texts.
READS = {
    "semantic": {"texts"}, "content_tower": {"texts"}, "llm_fallback": {"texts", "llm"}, "interest": {"history"},
    "match": {"history", "texts"},
}  # fmt: skip
OPTIONAL = {"interest": {"texts"}}


class TrainingConfig(_Strict):
    """How a network is trained: learning rates warm up, then follow a cosine down to 0 over `epochs`."""

    epochs: Annotated[int, Field(ge=1, description="Passes over the train rows; a small log gets more (min_steps).")]
    min_steps: Annotated[
        int,
        Field(ge=1, description="Updates that a small log gets at least, by smaller batches and then by more epochs."),
    ]
    batch_size: Annotated[int, Field(ge=1, description="Rows an update.")]
    learning_rate: Annotated[float, Field(gt=0, description="Peak rate of everything but the embeddings (AdamW).")]
    weight_decay: Annotated[float, Field(ge=0, description="Of everything but the embeddings (AdamW).")]
    embedding_learning_rate: Annotated[float, Field(gt=0, description="Peak rate of the embeddings (sparse Adam).")]
    embedding_l2: Annotated[
        float,
        Field(
            ge=0,
            description="Added to the loss for the rows a batch touches: rare values feel it as often as they occur.",
        ),
    ]
    id_dropout: Annotated[float, Field(ge=0, lt=1, description="Share of ids sent to the row of the unseen.")]
    warmup_steps: Annotated[
        int, Field(ge=0, description="Updates over which the rates rise; then a cosine takes them down to 0.")
    ]
    evaluations_per_epoch: Annotated[int, Field(ge=1, description="Evaluations on validation in an epoch.")]
    patience: Annotated[
        int,
        Field(
            ge=1, description="Evaluations without a better `metric` before stopping; the best weights are restored."
        ),
    ]
    metric: Annotated[Literal["auc", "log_loss"], Field(description="What validation chooses by.")]


class EvaluationConfig(_Strict):
    """How a run is measured."""

    resamples: Annotated[int, Field(ge=10, description="Samples of the bootstrap by user.")]
    min_class: Annotated[int, Field(ge=1, description="Cells with fewer positives or negatives are too small to show.")]


class GbdtStage(_Strict):
    """A stage of trees."""

    stage: Annotated[str, Field(description="Its name.")]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of every random choice.")]
    threads: Annotated[int, Field(ge=1, description="CPU threads.")]
    inputs: Annotated[InputsConfig, Field(description="What is read.")]
    model: Annotated[Gbdt, Field(description="The architecture.")]
    evaluation: Annotated[EvaluationConfig, Field(description="How the run is measured.")]
    calibration: Annotated[
        Literal["none", "temperature"], Field(description="temperature: by scene, fit on validation.")
    ] = "none"
    compares_to: Annotated[
        str | None, Field(description="The stage that a ladder holds this one against; by default the one before it.")
    ] = None


class NetworkStage(_Strict):
    """A stage of a network."""

    stage: Annotated[str, Field(description="Its name.")]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of every random choice.")]
    threads: Annotated[int, Field(ge=1, description="CPU threads.")]
    inputs: Annotated[InputsConfig, Field(description="What is read.")]
    model: Annotated[Network, Field(discriminator="kind", description="The architecture.")]
    training: Annotated[TrainingConfig, Field(description="How it is trained.")]
    evaluation: Annotated[EvaluationConfig, Field(description="How the run is measured.")]
    calibration: Annotated[
        Literal["none", "temperature"], Field(description="temperature: by scene, fit on validation.")
    ] = "none"
    compares_to: Annotated[
        str | None, Field(description="The stage that a ladder holds this one against; by default the one before it.")
    ] = None
    placebo: Annotated[
        Literal["texts"] | None, Field(description="Texts shuffled among rows on purpose: what they gain must vanish.")
    ] = None


Stage = GbdtStage | NetworkStage
KINDS: dict[str, type[Dnn]] = {get_args(m.model_fields["kind"].annotation)[0]: m for m in get_args(Network)}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-5` as text, for want of a dot; here it is the number that everyone means."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """No aliases: a stage file is written out, and a few lines of them can stand for gigabytes."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(
                f"it has the alias *{self.peek_event().anchor}; in a stage file values are written out"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Of a key that stands there twice PyYAML would take the last in silence."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"the key {twice[0]} stands there twice")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_stage(stage: str | Path, seed: int | None = None) -> Stage:
    """Read a stage by path, or one of the trainer's own by bare name (`01_dnn`); `seed` replaces the file's.

    Raises: TrainerError naming the file, the key, and the nearest right one.
    """
    path = Path(stage)
    if not path.exists() and (STAGES / f"{stage}.yaml").exists():
        path = STAGES / f"{stage}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in STAGES.glob("*.yaml"))
        raise TrainerError(f"No stage file {stage}{nearest(path.stem, known)}. The trainer has {', '.join(known)}.")
    if path.stat().st_size > _LARGEST:
        raise TrainerError(f"{path} has {path.stat().st_size:,} bytes; a stage file has less than {_LARGEST:,}.")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise TrainerError(f"{path} can't be read as YAML: {' '.join(str(error).split())[:500]}") from None
    if isinstance(raw, dict) and seed is not None:
        raw["seed"] = seed
    return parse_stage(raw, str(path))


def parse_stage(raw: Any, where: str) -> Stage:
    """A stage from what its YAML holds. Raises: TrainerError."""
    if not isinstance(raw, dict):
        raise TrainerError(f"{where}: expected keys such as stage, seed, model; found {type(raw).__name__}.")
    model = raw.get("model")
    kind = model.get("kind") if isinstance(model, dict) else None
    match kind:
        case "gbdt":
            cls: type[GbdtStage] | type[NetworkStage] = GbdtStage
        case _ if isinstance(kind, str) and kind in KINDS:
            cls = NetworkStage
        case _:
            known = ("gbdt", *KINDS)
            raise TrainerError(
                f"{where}: model.kind is {repr(kind)[:100]}{nearest(str(kind), known)}; expected "
                f"{', '.join(known[:-1])} or {known[-1]}."
            )
    try:
        stage = cls.model_validate(raw)
        _check_reads(stage, where)
        return stage
    except ValidationError as error:
        # A misspelt key is missing under its right name too; the misspelling is what helps.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        # pydantic puts the kind of the model into the path; the file has no such level.
        loc = tuple(part for k, part in enumerate(first["loc"]) if not (k == 1 and part == kind))
        key = ".".join(str(part) for part in loc)
        if first["type"] == "extra_forbidden":
            known = _fields(cls, loc[:-1], kind)
            raise TrainerError(
                f"{where}: unknown key {key}{nearest(str(first['loc'][-1]), known)}. Known here: {', '.join(known)}."
            ) from None
        if first["type"] == "missing":
            raise TrainerError(
                f"{where}: the key {key} is missing. A stage file is complete; see {STAGES.name}/."
            ) from None
        raise TrainerError(f"{where}: {key} is {repr(first['input'])[:100]}. {first['msg']}.") from None


def _check_reads(stage: Stage, where: str) -> None:
    """A model gets what it reads, and nothing is prepared that it doesn't."""
    kind = stage.model.kind
    needed, given = READS.get(kind, set()), {n for n in ("texts", "llm", "history") if getattr(stage.inputs, n)}
    for name in sorted(needed - given):
        raise TrainerError(
            f"{where}: a model of kind {kind} reads inputs.{name}; the key is missing. See {STAGES.name}/."
        )
    for name in sorted(given - needed - OPTIONAL.get(kind, set())):
        raise TrainerError(f"{where}: a model of kind {kind} doesn't read inputs.{name}. Leave the key out.")


def _fields(cls: type[BaseModel], loc: tuple[int | str, ...], kind: str) -> list[str]:
    for part in loc:
        if part == "model":
            cls = KINDS.get(kind, Gbdt)
            continue
        annotation = cls.model_fields[str(part)].annotation
        cls = next((a for a in get_args(annotation) if a is not type(None)), annotation)  # type: ignore[assignment]
    return list(cls.model_fields)


def dump_stage(stage: Stage) -> str:
    """The resolved stage as YAML; `load_stage` reads it back."""
    return yaml.safe_dump(stage.model_dump(mode="json", exclude_none=True), sort_keys=False)
