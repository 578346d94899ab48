"""A built warehouse as the online code sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainer.contract.manifest import compiled_models
from trainer.contract.read import read_contract
from trainer.contract.schema import Contract
from trainer.serving.online.events import Events
from trainer.serving.online.features import Online, settings_of
from trainer.serving.online.state import State
from trainer.serving.online.stores import open_store


@dataclass(frozen=True)
class Served:
    folder: Path

    @property
    def marts(self) -> Path:
        return self.folder / "data/marts/my_log"

    @property
    def manifest(self) -> Path:
        return self.folder / "target/manifest.json"

    @cached_property
    def contract(self) -> Contract:
        return read_contract(self.marts, None, self.manifest)

    @cached_property
    def models(self) -> dict[str, str]:
        return compiled_models(self.manifest, self.contract)

    def online(self, url: str, tolerance: int = 3600) -> Online:
        """The online code over the state at `url`, which is made if there is none."""
        store = open_store(url)
        State.create(store, settings_of(self.contract, self.models, tolerance))
        return Online(store)

    @property
    def events(self) -> Events:
        return Events.of_mart(self.contract)
