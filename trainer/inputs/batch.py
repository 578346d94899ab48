"""A batch: what a model sees of B rows.

Legend: B rows, F id and category fields, E embedding size, X dense width, H hidden size, S scenes, T columns of text
ids, V text dimensions, L outcomes in a history, U distinct items or texts of a batch's histories.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Batch:
    """B rows as tensors. What a stage doesn't read is None.

    ids_BF:   int64, rows of the one embedding table; a field's rows start at its offset with its UNSEEN row
    dense_BX: float32, the D standardised numbers, then the missing flags
    scene_B:  int64
    label_B:  float32
    level_BG: int64, how much is known of the user and of the item (G = 2, in this order): 0 zero, 1 few, 2 warm,
        3 unknown

    Texts, already gathered: a column's vectors, whitened, told from the column's mean, averaged over the row's list.
    text_BTV:       float32; zero, the mean, where the row has no text with a vector
    text_there_BT:  float32, 1 where it has one
    llm_BTV, llm_there_BT: the same by the language model, for cold rows (user or item zero or few) only; 0 elsewhere

    The user's latest known outcomes, the most recent first, as tables of what is distinct in the batch and positions:
    past_item_U:    int64, rows of the embedding table, in the item id's field
    past_item_BL:   int64, positions in past_item_U
    past_text_UV:   float32, text vectors as above, without averaging; None where the mart lists no texts
    past_text_BL:   int64, positions in past_text_UV
    past_label_BL:  int64, 0 or 1
    past_there_BL:  float32, 1 where there is such an outcome; the other tensors hold 0 where there isn't
    """

    ids_BF: torch.Tensor
    dense_BX: torch.Tensor
    scene_B: torch.Tensor
    label_B: torch.Tensor
    level_BG: torch.Tensor | None = None
    text_BTV: torch.Tensor | None = None
    text_there_BT: torch.Tensor | None = None
    llm_BTV: torch.Tensor | None = None
    llm_there_BT: torch.Tensor | None = None
    past_item_U: torch.Tensor | None = None
    past_item_BL: torch.Tensor | None = None
    past_text_UV: torch.Tensor | None = None
    past_text_BL: torch.Tensor | None = None
    past_label_BL: torch.Tensor | None = None
    past_there_BL: torch.Tensor | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Those that there are, by name."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}


@dataclass(frozen=True)
class Sizes:
    """What a model must know of its inputs: embedding rows (all fields), fields F, dense width X, scenes S.

    item_field: the item id's field; id_fields: the user's and the item's. text_groups: the group ("user" or "item") of
    each of the T text columns; text_dim, llm_dim: dimensions V of their vectors, 0 for a stage without. history:
    outcomes L at most, 0 for a stage without; past_texts: whether the outcomes come with texts.
    """

    n_embeddings: int
    n_fields: int
    n_dense: int
    n_scenes: int
    item_field: int = 0
    id_fields: tuple[int, ...] = ()
    text_groups: tuple[str, ...] = ()
    text_dim: int = 0
    llm_dim: int = 0
    history: int = 0
    past_texts: bool = False
