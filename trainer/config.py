"""Stage files: one complete YAML a rung, strict. An unknown key is an error that names it and the nearest right one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model

from trainer.base.errors import TrainerError, nearest
from trainer.base.strict import Strict
from trainer.metrics.metrics import MIN_CLASS
from trainer.models import config_of, kinds
from trainer.models.keys import ModelConfig

STAGES = Path(__file__).parent / "stages"
_LARGEST = 100_000  # bytes of a stage file


class TextsConfig(Strict):
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


class InputsConfig(Strict):
    """What a stage makes of the columns. TextsConfig, llm, history, sequence: only where the model reads them."""

    min_count: Annotated[int, Field(ge=1, description="Values rarer than this in train share the row of the unseen.")]
    clip: Annotated[
        float, Field(gt=0, description="Numbers are cut off at this many standard deviations from their mean.")
    ]
    texts: Annotated[TextsConfig | None, Field(description="Vectors of titles and entities.")] = None
    llm: Annotated[TextsConfig | None, Field(description="A language model's vectors, read for cold rows alone.")] = (
        None
    )
    history: Annotated[
        Annotated[int, Field(ge=1)] | None, Field(description="How many of the latest outcomes of a user are read.")
    ] = None
    sequence: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="How many of a user's latest outcomes a row attends to, as whole rows of the mart."),
    ] = None


class TrainingConfig(Strict):
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


class EvaluationConfig(Strict):
    """How a run is measured."""

    resamples: Annotated[int, Field(ge=10, description="Samples of the bootstrap by user.")]
    min_class: Annotated[
        int,
        Field(ge=MIN_CLASS, description="Scenes and cells with fewer positives or negatives have no AUC; 30 at least."),
    ]


class Stage(Strict):
    """What every stage says. `GbdtStage` is one of trees, `NetworkStage` one of a network."""

    stage: Annotated[str, Field(description="Its name.")]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of every random choice.")]
    threads: Annotated[int, Field(ge=1, description="CPU threads.")]
    inputs: Annotated[InputsConfig, Field(description="What is read.")]
    model: Annotated[ModelConfig, Field(description="The architecture.")]
    evaluation: Annotated[EvaluationConfig, Field(description="How the run is measured.")]
    calibration: Annotated[
        Literal["none", "temperature"], Field(description="temperature: by scene, fit on validation.")
    ] = "none"
    compares_to: Annotated[
        str | None, Field(description="The stage that a ladder holds this one against; by default the one before it.")
    ] = None


class GbdtStage(Stage):
    """A stage of trees."""


class NetworkStage(Stage):
    """A stage of a network."""

    training: Annotated[TrainingConfig, Field(description="How it is trained.")]
    placebo: Annotated[
        Literal["texts"] | None, Field(description="Texts shuffled among rows on purpose: what they gain must vanish.")
    ] = None


# The order of a stage's keys in a run's config.yaml.
_ORDER = (
    "stage",
    "seed",
    "threads",
    "inputs",
    "model",
    "training",
    "evaluation",
    "calibration",
    "compares_to",
    "placebo",
)


@cache
def stage_class(kind: str) -> type[Stage]:
    """The class of a stage whose `model` has the keys of this kind. Raises: TrainerError for an unknown kind."""
    base = GbdtStage if kind == "gbdt" else NetworkStage
    model = (config_of(kind), Field(description=base.model_fields["model"].description))
    return create_model(f"{base.__name__}[{kind}]", __base__=base, model=model)


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
    if not isinstance(kind, str):
        raise TrainerError(f"{where}: model.kind is {repr(kind)[:100]}; expected one of {', '.join(kinds())}.")
    try:
        cls = stage_class(kind)
    except TrainerError as error:
        raise TrainerError(f"{where}: {error}") from None
    try:
        stage = cls.model_validate(raw)
        _check_reads(stage, where)
        return stage
    except ValidationError as error:
        # A misspelt key is missing under its right name too; the misspelling is what helps.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        loc = first["loc"]
        key = ".".join(str(part) for part in loc)
        if first["type"] == "extra_forbidden":
            known = _fields(cls, loc[:-1])
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
    model, given = stage.model, {n for n in ("texts", "llm", "history", "sequence") if getattr(stage.inputs, n)}
    for name in sorted(model.reads - given):
        raise TrainerError(
            f"{where}: a model of kind {model.kind} reads inputs.{name}; the key is missing. See {STAGES.name}/."
        )
    for name in sorted(given - model.reads - model.may_read):
        raise TrainerError(f"{where}: a model of kind {model.kind} doesn't read inputs.{name}. Leave the key out.")


def _fields(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where an unknown one was found."""
    for part in loc:
        annotation = cls.model_fields[str(part)].annotation
        inner = next((a for a in get_args(annotation) if a is not type(None)), annotation)
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        cls = inner
    return list(cls.model_fields)


def dump_stage(stage: Stage) -> str:
    """The resolved stage as YAML; `load_stage` reads it back."""
    said = stage.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump({key: said[key] for key in _ORDER if key in said}, sort_keys=False)
