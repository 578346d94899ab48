"""Texts to token ids: the template around each, and what is too long cut so that the template never is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embeddings.errors import EmbeddingsError
from embeddings.recipe import Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A text is cut to this many characters per token before it is tokenised: no vocabulary here has longer words
# on average, and 100,000 characters would be tokenised for nothing.
_CHARACTERS_A_TOKEN = 16
# Where a text is cut, it and the template after it may form more tokens together than apart.
_SLACK = 2


@dataclass(frozen=True)
class Tokens:
    """Texts as token ids, ready to encode. `n_cut` of them were longer than the model's limit and were cut at the end.

    `starts` is the first token of each that pooling counts: 0, or the one after a prompt that doesn't count.
    """

    ids: list[list[int]]
    n_cut: int
    starts: list[int]

    @property
    def n_tokens(self) -> int:
        return sum(map(len, self.ids))


class TextTokenizer:
    """A model's tokenizer with the recipe's template and limit.

    cut_start: texts are cut at their start, not at their end.
    """

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, cut_start: bool):
        self.recipe, self._tokenizer, self._cut_start = recipe, tokenizer, cut_start
        self._lengths_of_parts: dict[str, int] = {"": 0}
        self._lengths_of_prompts: dict[str, int] = {"": 0}
        tokenizer.no_padding()
        tokenizer.no_truncation()
        empty = tokenizer.encode("")
        self._n_special = len(empty.ids)
        if any(empty.type_ids):
            raise EmbeddingsError(
                f"The tokenizer of {recipe.encoder} marks tokens with types other than 0, which isn't supported here."
                " Take another encoder: `embeddings models` lists some."
            )
        tokenizer.enable_truncation(recipe.max_tokens, direction="left" if cut_start else "right")

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Template and token ids. A text that is too long is cut at its end; the template never is.

        Raises: EmbeddingsError where the template alone fills the longest text.
        """
        template, limit, from_end = self.recipe.template, self.recipe.max_tokens, self._cut_start
        parts, cut, unsure = [], set(), []
        for i, text in enumerate(texts):
            short = text[-limit * _CHARACTERS_A_TOKEN :] if from_end else text[: limit * _CHARACTERS_A_TOKEN]
            before, after = template.around(short)
            if self._room(before, after) < 1:
                raise EmbeddingsError(
                    f"The template {before + '{text}' + after!r} takes all {limit} tokens that"
                    f" {self.recipe.encoder} reads at most. Give a shorter one with --template, or raise --max-tokens."
                )
            if len(short) < len(text):
                cut.add(i)
            # Fewer characters than tokens of room can't be too long, except for bytes: a character has at most four.
            # Without a template the tokenizer's own cut is exact.
            if (before or after) and len(short) * 4 > self._room(before, after):
                unsure.append(i)
            parts.append((before, short, after))
        for i, short in self._cut_to_room(parts, unsure, cut):
            cut.add(i)
            parts[i] = (parts[i][0], short, parts[i][2])
        encodings = self._tokenizer.encode_batch_fast([before + short + after for before, short, after in parts])
        cut |= {i for i, encoding in enumerate(encodings) if encoding.overflowing}
        counted = self.recipe.prompt_in_pooling
        starts = [0 if counted else self._n_prompt(before) for before, _, _ in parts]
        return Tokens([encoding.ids for encoding in encodings], len(cut), starts)

    def _room(self, before: str, after: str) -> int:
        """Tokens that the template and the special ones leave for a text."""
        return self.recipe.max_tokens - self._n_special - self._n_tokens(before) - self._n_tokens(after)

    def _cut_to_room(
        self, parts: list[tuple[str, str, str]], unsure: list[int], cut: set[int]
    ) -> Iterator[tuple[int, str]]:
        """Those of the `unsure` texts that are too long for their room, cut; `cut` are known to have lost something."""
        from_end = self._cut_start
        encodings = self._tokenizer.encode_batch_fast([parts[i][1] for i in unsure], add_special_tokens=False)
        too_long = [
            i
            for i, encoding in zip(unsure, encodings, strict=True)
            if i in cut or encoding.overflowing or len(encoding.ids) > self._room(parts[i][0], parts[i][2])
        ]
        # Again, because only this call says where in the text a token is.
        encodings = self._tokenizer.encode_batch([parts[i][1] for i in too_long], add_special_tokens=False)
        for i, encoding in zip(too_long, encodings, strict=True):
            before, short, after = parts[i]
            if encoding.ids and (before if from_end else after):
                kept = max(1, self._room(before, after) - _SLACK)
                short = short[encoding.offsets[-kept:][0][0] :] if from_end else short[: encoding.offsets[:kept][-1][1]]
            # Where nothing follows the text, the tokenizer's own cut is exact.
            yield i, short

    def _n_tokens(self, part: str) -> int:
        """Tokens of a part of the template; there are only two or four of them."""
        if part not in self._lengths_of_parts:
            self._lengths_of_parts[part] = len(self._tokenizer.encode(part, add_special_tokens=False).ids)
        return self._lengths_of_parts[part]

    def _n_prompt(self, before: str) -> int:
        """Tokens that a prompt adds before a text, the leading special ones included.

        Source: sentence-transformers' `Transformer._get_prompt_length`: the prompt is tokenized alone, and a special
        token at its end isn't the prompt's.
        """
        if before not in self._lengths_of_prompts:
            ids = self._tokenizer.encode(before).ids
            last = self._tokenizer.get_added_tokens_decoder().get(ids[-1])
            self._lengths_of_prompts[before] = len(ids) - int(last is not None and last.special)
        return self._lengths_of_prompts[before]
