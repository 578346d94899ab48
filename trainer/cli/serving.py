"""score, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from storage.options import LOCAL, READ, WRITE
from trainer.base.errors import require_extra
from trainer.cli.common import Json, Vectors, console


def score(
    run: Annotated[Path, typer.Option(help="A finished run.", **READ)],
    source: Annotated[Path, typer.Option("--input", help="A Parquet file, or a folder of them.", **READ)],
    output: Annotated[
        Path, typer.Option(help="The Parquet file to write; with --engine spark a folder of them.", **WRITE)
    ],
    keep: Annotated[
        list[str] | None, typer.Option(help="Another column of the input to pass on; give it once a column.")
    ] = None,
    partition: Annotated[
        list[str] | None,
        typer.Option(help="A column that stands in the names of folders, as in scene=home/; give it once per column."),
    ] = None,
    vectors: Vectors = None,
    history: Annotated[
        Path | None,
        typer.Option(
            help="Where the users' outcomes are, for a run that reads them (11_sequence): a mart, or Parquet with "
            "the contract's columns, label and known_at among them.",
            **READ,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output.")] = False,
    engine: Annotated[
        Literal["local", "spark"],
        typer.Option(help="spark: by the workers of a Spark session, to the same numbers (docs/run-on-spark.md)."),
    ] = "local",
    as_json: Json = False,
) -> None:
    """Give the probability of a click for rows with the contract's columns; labels aren't needed.

    The output has the key columns and `probability`, a row for each row of the input, in its order. Unseen ids are
    fine; an unknown scene is an error. Of a folder, links are followed, and files that aren't read are named.

    Example: `trainer score --run runs/01_dnn --input rows.parquet --output scored.parquet`
    """
    from storage.listing import LeftOut, summary
    from trainer.serving.score import score_file

    score_by = score_file
    if engine == "spark":
        require_extra("spark", "`trainer score --engine spark`")
        from trainer.serving.spark import score_on_spark as score_by
    found = score_by(
        run,
        source,
        output,
        keep=tuple(keep or ()),
        vectors=vectors,
        history=history,
        force=force,
        partitions=tuple(partition or ()),
    )
    if as_json:
        typer.echo(json.dumps(found))
    for line in summary([LeftOut(**one) for one in found["left_out"]]):
        console.print(f"Not read: {line}", style="yellow", markup=False, soft_wrap=True)
    for line in found["notes"]:
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    console.print(
        f"Wrote {output}: {found['rows']:,} rows in {found['seconds']:.1f} s ({found['rows_per_second']:,} rows/s), "
        f"peak memory {found['peak_rss_mib']:,} MiB"
    )


def export(
    run: Annotated[Path, typer.Option(help="A finished run of a network.", **READ)],
    output: Annotated[
        Path, typer.Option(help="The ONNX file to write; a JSON file beside it says how to feed it.", **LOCAL)
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace the output.")] = False,
    as_json: Json = False,
) -> None:
    """Write a network as ONNX, checked against PyTorch before it is kept.

    Example: `trainer export --run runs/01_dnn --output model.onnx`
    """
    from trainer.serving.onnx import export_run

    about = export_run(run, output, force=force)
    if as_json:
        typer.echo(json.dumps(about))
    console.print(
        f"Wrote {output} and {output}.json; its probabilities are PyTorch's within "
        f"{about['largest_difference_to_pytorch']:.1g}"
    )
