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

    outcomes: all known outcomes of the batch's users
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
    outcomes: Outcomes | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Those of the rows that there are, by name."""
        return {name: tensor for name, tensor in vars(self).items() if isinstance(tensor, torch.Tensor)}


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of a batch's users, as T rows of the mart, and which of them a row may see.

    Legend: T outcomes, G users, L outcomes and Q rows of a user at most.

    rows:     the T outcomes, each encoded as the row that it is
    row_GL:   int64, positions among them, a user's in the order in which they became known; any where there are fewer
    seen_GL:  int64, how many of the user's outcomes, from the first on, were known before this outcome's own instant
    at_GL:    int64, that instant, in microseconds

    The batch's rows, by user and by how many outcomes they see:
    asked_GQ:      int64, positions in the batch; any where a user has fewer
    asked_seen_GQ: int64, how many of the user's outcomes, from the first on, the row may see
    asked_at_GQ:   int64, the row's instant, in microseconds
    place_B:       int64, where each row of the batch stands in asked_GQ, flattened
    """

    rows: Batch
    row_GL: torch.Tensor
    seen_GL: torch.Tensor
    at_GL: torch.Tensor
    asked_GQ: torch.Tensor
    asked_seen_GQ: torch.Tensor
    asked_at_GQ: torch.Tensor
    place_B: torch.Tensor

    @classmethod
    def of_one_user(cls, rows: Batch, at_T: torch.Tensor, known_at_T: torch.Tensor, at_B: torch.Tensor) -> Outcomes:
        """The outcomes of the user of all B rows of a batch, from instants alone; in the order of the mart's rows.

        Shapes: at_T, known_at_T, at_B int64, microseconds.
        """
        known_T = torch.maximum(known_at_T, at_T)
        place_T = torch.arange(at_T.shape[0], device=at_T.device)
        # A stable sort, which ONNX doesn't have: by how many come before.
        first_TT = (known_T < known_T[:, None]) | ((known_T == known_T[:, None]) & (place_T < place_T[:, None]))
        row_T = first_TT.sum(1).argsort()

        def seen_by(at_R: torch.Tensor) -> torch.Tensor:
            return (known_T < at_R[:, None]).sum(1)

        place_B = torch.arange(at_B.shape[0], device=at_B.device)
        return cls(
            rows,
            row_T[None],
            seen_by(at_T[row_T])[None],
            at_T[row_T][None],
            place_B[None],
            seen_by(at_B)[None],
            at_B[None],
            place_B,
        )


@dataclass(frozen=True)
class Sizes:
    """What a model must know of its inputs: embedding rows (all fields), fields F, dense width X, scenes S.

    item_field: the item id's field; id_fields: the user's and the item's. text_groups: the group ("user" or "item") of
    each of the T text columns; text_dim, llm_dim: dimensions V of their vectors, 0 for a stage without. history:
    outcomes L at most, 0 for a stage without; past_texts: whether the outcomes come with texts. window: the latest
    outcomes that a row attends to, 0 for a stage without sequences.
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
    window: int = 0
