"""The layers that models are made of. Legend: B rows, everything else as each file says."""

from trainer.models.layers.basic import Dropout, embedding_table, mlp, one_hot_levels, take_fields
from trainer.models.layers.experts import Experts, Extraction, ExtractionLevels, mix
from trainer.models.layers.history import HistoryAttention, OutcomeAttention
from trainer.models.layers.recent import RecentBlock, Sight
from trainer.models.layers.scenes import PriorGate, SceneGates, SceneHeads, SceneTowers, StarLinear, by_scene, own_scene
from trainer.models.layers.texts import Match, SpaceMatch, TextJoin

__all__ = [
    "Dropout",
    "Experts",
    "Extraction",
    "ExtractionLevels",
    "HistoryAttention",
    "Match",
    "OutcomeAttention",
    "PriorGate",
    "RecentBlock",
    "SceneGates",
    "SceneHeads",
    "SceneTowers",
    "Sight",
    "SpaceMatch",
    "StarLinear",
    "TextJoin",
    "by_scene",
    "embedding_table",
    "mix",
    "mlp",
    "one_hot_levels",
    "own_scene",
    "take_fields",
]
