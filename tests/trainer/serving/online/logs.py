"""A small mart and the log of a service over it, to be changed by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from tests.trainer.toys import START, make_toy
from trainer.cli import app
from trainer.contract.read import read_contract
from trainer.serving.online.served_files import ServedFiles
from trainer.serving.online.skew import Skew, compare_served

FEATURES = ["item_rate", "user_count", "device", "scene_counts", "ctx_dense", "ctx_ids", "title_text_id", "user_level"]
N = 50
TIMES = [START + timedelta(hours=k) for k in range(N)]  # three days


class Log:
    """The mart's rows as a service would have logged them, to be changed before they are written."""

    def __init__(self, folder: Path):
        self.folder, toy = folder, make_toy(N, days=3)
        toy.set("event_at", TIMES).set("event_date", [at.date() for at in TIMES]).set("known_at", TIMES)
        toy.set("item_rate", [float(k) for k in range(N)])
        toy.set("scene_counts", [[1.0, 2.0, float(k)] for k in range(N)])
        self.marts = toy.write(folder / "marts", files=2)
        files = sorted((self.marts / "training_examples_v1").glob("event_date=*/*.parquet"))
        self.mart = pa.concat_tables(pq.ParquetFile(path).read() for path in files).sort_by("event_at")
        names = ["event_id", "user_id", "item_id", "scene", "event_at", *FEATURES]
        self.rows = self.mart.select(names).to_pylist()
        self.schema = self.mart.select(names).schema
        for k, row in enumerate(self.rows):
            row |= {"request_id": f"r{k}", "served_at": row["event_at"], "probability": 0.5}
        for name, kind in (
            ("request_id", pa.string()),
            ("served_at", pa.timestamp("us")),
            ("probability", pa.float64()),
        ):
            self.schema = self.schema.append(pa.field(name, kind))

    def write(self, name: str = "a") -> Log:
        days: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            days.setdefault(str(row["event_at"].date()), []).append(row)
        for day, rows in days.items():
            path = self.folder / f"served/event_date={day}/{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, self.schema), path)
        return self

    def compared(self) -> Skew:
        return compare_served(ServedFiles.open(self.folder / "served"), read_contract(self.marts))

    def run(self, *options: str) -> Any:
        place = ["--marts", str(self.marts), "--served", str(self.folder / "served")]
        return CliRunner().invoke(app, ["replay", *place, *options])
