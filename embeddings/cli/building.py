"""build."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from embeddings.cli.common import DEFAULT_ENCODER, DEFAULT_STORE, AsJson, Marts, StoreToWrite, note, out, print_counts
from embeddings.cli.progress import doing, progress
from embeddings.cli.space import build_from_log
from embeddings.errors import EmbeddingsError, require_extra
from embeddings.recipe import FROM_LOG
from storage.places import told


def build(
    marts: Marts,
    encoder: Annotated[
        str,
        typer.Option(help="A name of the catalogue, a folder, a hub id, or cooccurrence (made from the log)."),
    ] = DEFAULT_ENCODER,
    only: Annotated[str, typer.Option(help="all, or cold: texts of rows whose user or item is zero or few.")] = "all",
    user_texts: Annotated[
        str, typer.Option(help="Whole user texts with --only all: cold, all or none of them.")
    ] = "cold",
    store: StoreToWrite = DEFAULT_STORE,
    pooling: Annotated[
        str | None,
        typer.Option(help="mean, cls, last, max, ... (cls+mean joins two); needed where the model doesn't say."),
    ] = None,
    template: Annotated[str | None, typer.Option(help="Text around a text, for example 'query: {text}'.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, int8, bf16 or fp32.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default the physical cores.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Cut texts to this many tokens.")] = None,
    shard_texts: Annotated[int | None, typer.Option(min=1, help="Texts per shard: what a kill can cost.")] = None,
    dim: Annotated[int | None, typer.Option(min=1, help="With cooccurrence: dimensions; 64 if not given.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With cooccurrence: of the SVD; 0 if not given.")] = None,
    engine: Annotated[
        Literal["local", "spark"],
        typer.Option(help="spark: by the workers of a Spark session, to the same vectors (docs/run-on-spark.md)."),
    ] = "local",
    as_json: AsJson = False,
) -> None:
    """Encode the texts that have no vector yet. It can be killed at any time: the same command continues.

    Example: [bold]embeddings build --marts data/marts/movielens --encoder e5-small[/]

    For the cold texts: [bold]embeddings build --marts data/marts/movielens --encoder smollm2 --only cold[/]

    Without a model: [bold]embeddings build --marts data/marts/movielens --encoder cooccurrence[/]
    """
    of_the_log = {"--dim": dim, "--seed": seed}
    of_encoders = {
        "--only": None if only == "all" else only,
        "--user-texts": None if user_texts == "cold" else user_texts,
        "--pooling": pooling,
        "--template": template,
        "--dtype": None if dtype == "auto" else dtype,
        "--device": None if device == "auto" else device,
        "--threads": threads,
        "--max-tokens": max_tokens,
        "--shard-texts": shard_texts,
        "--engine": None if engine == "local" else engine,
    }
    for flag, given in (of_encoders if encoder == FROM_LOG else of_the_log).items():
        if given is not None:
            kind = "encoders that read texts" if encoder == FROM_LOG else f"--encoder {FROM_LOG}"
            raise EmbeddingsError(f"{flag} is for {kind}: it says nothing to --encoder {encoder}. Leave it out.")
    if encoder == FROM_LOG:
        build_from_log(marts, store, dim, seed, as_json=as_json)
        return
    require_extra("embeddings", "`embeddings build`")
    from dataclasses import asdict

    from embeddings.build import Encode, encode_here
    from embeddings.build import build as build_vectors
    from embeddings.encoder import Encoder
    from embeddings.texts import read_texts

    options: dict[str, Any] = {
        "pooling": pooling,
        "template": template,
        "dtype": dtype,
        "device": device,
        "max_tokens": max_tokens,
    }
    encode: Encode = encode_here
    if engine == "spark":
        require_extra("spark", "`embeddings build --engine spark`")
        from embeddings.spark import OnSpark

        # As many workers as cores encode at once: a thread each, unless told otherwise.
        encode = OnSpark({"name": encoder, "threads": threads or 1} | options)
    with doing("reading texts"):
        texts = read_texts(marts)
    if texts.repaired:
        note(
            f"{len(texts.repaired):,} texts are not valid UTF-8; their bad bytes read U+FFFD."
            f" The first: {texts.repaired[0]}"
        )
    with doing(f"loading {encoder}"):
        ready = Encoder.open(encoder, **options, threads=threads)
    for message in ready.notes:
        note(message)
    with progress() as (started, advance):
        report = build_vectors(
            texts,
            ready,
            store,
            only=only,
            user_texts=user_texts,
            shard_texts=shard_texts,
            encode=encode,
            started=started,
            progress=advance,
        )
    if as_json:
        print(json.dumps(asdict(report) | {"store": told(report.store)}, indent=1))
        return
    saving = report.saving
    rows = [
        ("encoded now", report.n_encoded),
        ("had a vector already", report.n_already_there),
        ("only in rows of warm users and items", report.n_warm_only),
        ("whole user texts left out (--user-texts none)", report.n_unasked),
        ("in no row", report.n_unused),
        ("empty: no vector, flagged", report.n_empty),
        ("of all texts", report.n_texts),
    ]
    print_counts(rows)
    rate = f", {report.n_encoded / report.seconds:,.0f} per second" if report.n_encoded and report.seconds > 0 else ""
    cuda = ready.recipe.device == "cuda"
    where = f" on CUDA, up to {ready.batch_tokens:,} tokens in a batch" if cuda else ""
    out.print(
        f"{report.n_encoded:,} texts in {report.seconds:,.1f} s{rate}, {ready.recipe.dtype}{where};"
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
    out.print(f"Vectors: {told(report.store)}", highlight=False, soft_wrap=True)
