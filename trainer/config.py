"""Stage files: one complete YAML a rung, strict. An unknown key is an error that names it and the nearest right one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from trainer.errors import TrainerError, nearest

STAGES = Path(__file__).parent / "stages"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Texts(_Strict):
    """encoder: the vectors' name or store key; dimensions: whitened to.

    min_text_coverage: the share of train's distinct texts that must have a vector.
    """

    encoder: str
    dimensions: Annotated[int, Field(ge=1)]
    min_text_coverage: Annotated[float, Field(ge=0, le=1)]


class Inputs(_Strict):
    """min_count: values rarer than this in train share the unseen row; clip: in standard deviations.

    texts: vectors of all texts; llm: a language model's, read for cold rows; history: latest outcomes of a user.
    Only for stages whose model reads them.
    """

    min_count: Annotated[int, Field(ge=1)]
    clip: Annotated[float, Field(gt=0)]
    texts: Texts | None = None
    llm: Texts | None = None
    history: Annotated[int, Field(ge=1)] | None = None


class Gbdt(_Strict):
    """scikit-learn's names; patience: iterations without a better validation log loss before stopping.

    max_values: categories kept a feature, the most frequent ones; the rest is one more (at most 255 bins in all).
    max_train_rows: beyond it, training uses an even sample (scikit-learn holds the rows as float64).
    """

    kind: Literal["gbdt"]
    learning_rate: Annotated[float, Field(gt=0)]
    max_iter: Annotated[int, Field(ge=1)]
    max_leaf_nodes: Annotated[int, Field(ge=2)]
    min_samples_leaf: Annotated[int, Field(ge=1)]
    l2_regularization: Annotated[float, Field(ge=0)]
    max_features: Annotated[float, Field(gt=0, le=1)]
    patience: Annotated[int, Field(ge=1)]
    max_values: Annotated[int, Field(ge=1, le=253)]
    max_train_rows: Annotated[int, Field(ge=1)]


class Dnn(_Strict):
    """hidden: the body's widths; embedding_dropout: of single embedding elements."""

    kind: Literal["dnn"]
    embedding_dim: Annotated[int, Field(ge=1)]
    hidden: Annotated[list[int], Field(min_length=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    embedding_dropout: Annotated[float, Field(ge=0, lt=1)]


class Mmoe(Dnn):
    """experts: how many; hidden: an expert's widths; tower: a scene's, before its one number."""

    kind: Literal["mmoe"]  # type: ignore[assignment]
    experts: Annotated[int, Field(ge=1)]
    tower: list[int]


class Ple(Dnn):
    """shared: experts of all scenes; private: of each scene alone; in each of `levels`."""

    kind: Literal["ple"]  # type: ignore[assignment]
    shared: Annotated[int, Field(ge=1)]
    private: Annotated[int, Field(ge=0)]
    levels: Annotated[int, Field(ge=1)]
    tower: list[int]


class Semantic(Ple):
    """text_size: what a column's text vector is made into; text_dropout: of single elements of text vectors."""

    kind: Literal["semantic"]  # type: ignore[assignment]
    text_size: Annotated[int, Field(ge=1)]
    text_dropout: Annotated[float, Field(ge=0, lt=1)]


class ContentTower(Semantic):
    """content, gate: widths of a scene's content tower, and of the network that decides alpha."""

    kind: Literal["content_tower"]  # type: ignore[assignment]
    content: list[int]
    gate: list[int]


class LlmFallback(ContentTower):
    kind: Literal["llm_fallback"]  # type: ignore[assignment]


class Star(Dnn):
    """auxiliary: hidden width of the network that sees the scene alone."""

    kind: Literal["star"]  # type: ignore[assignment]
    auxiliary: Annotated[int, Field(ge=1)]


class Pepnet(Dnn):
    """gate: hidden width of the gates."""

    kind: Literal["pepnet"]  # type: ignore[assignment]
    gate: Annotated[int, Field(ge=1)]


class Interest(Semantic):
    """attention: size of a query, in `heads` parts; history_dropout: of what the attention reports."""

    kind: Literal["interest"]  # type: ignore[assignment]
    attention: Annotated[int, Field(ge=1)]
    heads: Annotated[int, Field(ge=1)]
    history_dropout: Annotated[float, Field(ge=0, lt=1)]

    @field_validator("heads")
    @classmethod
    def _divides(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("attention", 0) % heads:
            raise ValueError(f"heads must divide attention, which is {info.data['attention']}")
        return heads


Network = Dnn | Mmoe | Ple | Semantic | ContentTower | LlmFallback | Star | Pepnet | Interest
# What a model reads beside ids and numbers. Interest can do without texts.
READS = {
    "semantic": {"texts"}, "content_tower": {"texts"}, "llm_fallback": {"texts", "llm"}, "interest": {"history"},
}  # fmt: skip
OPTIONAL = {"interest": {"texts"}}


class Training(_Strict):
    """How a network is trained.

    learning_rate, weight_decay: of everything but the embeddings (AdamW). embedding_*: of the table (sparse Adam);
    embedding_l2 is added to the loss for the rows a batch touches, so rare values feel it as often as they are seen.
    min_steps: updates that a small log gets at least, by smaller batches and then by more epochs.
    id_dropout: share of ids sent to the unseen row. warmup_steps, then a cosine down to 0 over `epochs`.
    Stops after `patience` evaluations without a better `metric` on validation; the best weights are restored.
    """

    epochs: Annotated[int, Field(ge=1)]
    min_steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    embedding_learning_rate: Annotated[float, Field(gt=0)]
    embedding_l2: Annotated[float, Field(ge=0)]
    id_dropout: Annotated[float, Field(ge=0, lt=1)]
    warmup_steps: Annotated[int, Field(ge=0)]
    evaluations_per_epoch: Annotated[int, Field(ge=1)]
    patience: Annotated[int, Field(ge=1)]
    metric: Literal["auc", "log_loss"]


class Evaluation(_Strict):
    """resamples: of the bootstrap by user; min_class: cells with fewer positives or negatives are too small to show."""

    resamples: Annotated[int, Field(ge=10)]
    min_class: Annotated[int, Field(ge=1)]


class GbdtStage(_Strict):
    stage: str
    seed: int
    threads: Annotated[int, Field(ge=1)]
    inputs: Inputs
    model: Gbdt
    evaluation: Evaluation
    calibration: Literal["none", "temperature"] = "none"  # by scene, fit on validation (calibration.py)
    compares_to: str | None = None  # the stage a ladder holds this one against; none: the one before it


class NetworkStage(_Strict):
    stage: str
    seed: int
    threads: Annotated[int, Field(ge=1)]
    inputs: Inputs
    model: Annotated[Network, Field(discriminator="kind")]
    training: Training
    evaluation: Evaluation
    calibration: Literal["none", "temperature"] = "none"  # by scene, fit on validation (calibration.py)
    compares_to: str | None = None  # the stage a ladder holds this one against; none: the one before it
    placebo: Literal["texts"] | None = None  # texts shuffled among rows on purpose: what they gain must vanish


Stage = GbdtStage | NetworkStage
KINDS: dict[str, type[Dnn]] = {get_args(m.model_fields["kind"].annotation)[0]: m for m in get_args(Network)}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-5` as text, for want of a dot; here it is the number that everyone means."""


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
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainerError(f"{path} isn't YAML: {' '.join(str(error).split())}") from None
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
        case _ if kind in KINDS:
            cls = NetworkStage
        case _:
            known = ("gbdt", *KINDS)
            raise TrainerError(
                f"{where}: model.kind is {kind!r}{nearest(str(kind), known)}; expected {', '.join(known[:-1])} "
                f"or {known[-1]}."
            )
    try:
        stage = cls.model_validate(raw)
        _check_reads(stage, where)
        return stage
    except ValidationError as error:
        first = error.errors()[0]
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
        raise TrainerError(f"{where}: {key} is {first['input']!r}. {first['msg']}.") from None


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
