"""What a proof compares: a built mart against the reference, and its rows against the raw ones."""

import random
from collections.abc import Callable

import pyarrow as pa
import yaml

from tests.warehouse.logs import SURFACES
from tests.warehouse.project import ROOT
from tests.warehouse.reference import Settings, features_v1, features_v2
from warehouse.prove.models import PROVEN_ROLES
from warehouse.prove.verdicts import agree, variety

SETTINGS = Settings(scenes=SURFACES)
REFERENCE: dict[int, Callable] = {1: features_v1, 2: features_v2}
# What came with the row itself, or is an id of a text: not computed from other events.
CARRIED = {"ctx_dense", "ctx_ids", "user_last_title_text_ids"}


def features_of(version: int) -> list[str]:
    """The names that the contract of training_examples declares as computed from events."""
    contract = yaml.safe_load((ROOT / "warehouse/models/marts/training_examples.yml").read_text())["models"][0]
    (columns,) = (each["columns"] for each in contract["versions"] if each["v"] == version)
    roles = {column["name"]: column["config"]["meta"]["role"] for column in columns}
    return [name for name, role in roles.items() if role in ("feature", "level", "history") and name not in CARRIED]


def unproven(mart: pa.Table, contract: dict[str, str]) -> list[str]:
    """Columns without two different values: they can't move, so no proof says anything."""
    return [name for name, role in contract.items() if role in PROVEN_ROLES and variety(mart[name])[0] < 2]


class Sample:
    """Some events of a log with their features by the reference, which are worked out once."""

    def __init__(self, log: pa.Table, n_sampled: int = 300):
        self.log = log.to_pylist()
        self.events = random.Random(7).sample(self.log, min(n_sampled, len(self.log)))
        self.expected: dict[int, list[dict]] = {}

    def disagreements(self, mart: pa.Table, version: int) -> list[str]:
        """Rows of the mart against the reference: a line for each feature that differs or row that is missing."""
        if version not in self.expected:
            self.expected[version] = [REFERENCE[version](event, self.log, SETTINGS) for event in self.events]
        rows = {row["event_id"]: row for row in mart.to_pylist()}
        found = []
        for event, expected in zip(self.events, self.expected[version], strict=True):
            row = rows.get(event["impression_id"])
            if row is None:
                found.append(f"{event['impression_id']} is missing")
                continue
            for name, value in expected.items():
                if not agree(row[name], value):
                    found.append(f"{event['impression_id']} {name}: {row[name]}, expected {value}")
        return found


def lost_or_made(mart: pa.Table, log: pa.Table) -> list[str]:
    """Event ids that are not exactly once on both sides."""
    ids = sorted(set(mart["event_id"].to_pylist()) ^ set(log["impression_id"].to_pylist()))
    return ids + (["rows doubled"] if len(mart) > len(set(mart["event_id"].to_pylist())) else [])
