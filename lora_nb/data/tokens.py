"""One function turns a row into ids and says which of them are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lora_nb.data.faults import RowError
from lora_nb.data.formats import Features, Kind, kind_of, text_of, to_messages, tools_of
from lora_nb.data.spans import Offsets, TokenMap, shared, turn_span
from lora_nb.data.templates import Template
from lora_nb.data.tokenizer import Tokenizer, eos_ids
from lora_nb.errors import LoraError

__all__ = ["Encoded", "Encoder", "TokenOptions", "target_of"]

Target = Literal["all", "completions", "assistant"]
Messages = list[dict[str, Any]]
Tools = list[dict[str, Any]] | None

# Rows on which the ids of rendered text are compared with the tokenizer's own.
_CHECKED_ROWS = 3


class TokenOptions(Features, Protocol):
    """The options that decide about tokens (DataOptions has them)."""

    @property
    def mask_prompt(self) -> bool: ...
    @property
    def train_on(self) -> Target | None: ...
    @property
    def max_seq_length(self) -> int: ...
    @property
    def long_rows(self) -> Literal["cut", "split", "drop", "error"]: ...


@dataclass(frozen=True, eq=False)
class Encoded:
    """One trained sequence: `ids` int32 and `trained` bool of the same length.

    `trained[j]` says that token j is a target; `trained[0]` is False, nothing predicts it.
    `cut` counts the tokens that `max_seq_length` took off its end. `parts` int32 numbers the row of
    each token, if there are several.
    """

    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    kind: Kind
    cut: int = 0
    parts: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def targets(self) -> int:
        """How many tokens are trained."""
        return int(np.count_nonzero(self.trained))


def target_of(options: TokenOptions) -> Target:
    """What is trained; LoraError if the two options contradict each other."""
    if options.train_on == "all" and options.mask_prompt:
        raise LoraError("--mask-prompt and --train-on all contradict each other. Leave one out.")
    return options.train_on or ("completions" if options.mask_prompt else "all")


class Encoder:
    """Turns rows into Encoded with one tokenizer, template and set of options."""

    def __init__(self, tokenizer: Tokenizer, options: TokenOptions, template: Template) -> None:
        self.tokenizer = tokenizer
        self.options = options
        self.template = template
        self.target: Target = target_of(options)
        self.ends = eos_ids(tokenizer)
        self.roles = template.roles
        self._to_check = _CHECKED_ROWS
        self._offsets = Offsets(tokenizer)
        self._by_text = True

    def encode(self, row: Mapping[str, Any], where: str = "") -> list[Encoded]:
        """The sequences of a row: usually one, none if dropped, several if split.

        Raises RowError (a LoraError) with `where` for a row that cannot be used.
        """
        try:
            return self._fit(self.whole(row))
        except RowError as error:
            if error.where or not where:
                raise
            raise error.at(where) from error.__cause__
        except LoraError:
            raise
        except Exception as error:
            raise RowError(
                "encode",
                f"the tokenizer cannot encode the row ({type(error).__name__}: {error}).",
                "Look at its texts for unusual characters.",
                where=where,
            ) from error

    def look(self, row: Mapping[str, Any], where: str = "") -> list[Encoded]:
        """Checks a row as `encode` does, without making tokens; gives an empty list."""
        try:
            if kind_of(row, self.options) == "text":
                text_of(row, self.options)
            else:
                to_messages(row, self.options, self.roles)
                tools_of(row)
        except RowError as error:
            raise error.at(where) from error.__cause__
        return []

    def whole(self, row: Mapping[str, Any]) -> Encoded:
        """The row as one sequence of whatever length."""
        kind = kind_of(row, self.options)
        ids, trained = self._text(row) if kind == "text" else self._chat(row)
        if len(trained):
            trained[0] = False
        return Encoded(np.array(ids, np.int32), trained, kind)

    def _text(self, row: Mapping[str, Any]) -> tuple[list[int], NDArray[np.bool_]]:
        if self.target != "all":
            raise RowError(
                "mask_text",
                "the row is plain text, which has no prompt to leave out.",
                "Train on all tokens, or write rows with a prompt and a completion.",
            )
        text = text_of(row, self.options)
        ids = [int(i) for i in self.tokenizer.encode(text)]
        eos = self.tokenizer.eos_token_id
        if eos is not None and (not ids or ids[-1] != eos):
            ids.append(int(eos))
        return ids, np.full(len(ids), bool(text), np.bool_)

    def _chat(self, row: Mapping[str, Any]) -> tuple[list[int], NDArray[np.bool_]]:
        messages = to_messages(row, self.options, self.roles)
        tools = tools_of(row)
        text = self.template.render(self.tokenizer, messages, tools) if self._by_text else ""
        ids = self._ids(text)
        if self._by_text:
            self._check(ids, messages, tools)
        # The check may have found that the text doesn't say it all.
        if self._by_text:
            trained = self._mask(text, ids, messages, tools)
        else:
            ids = self.template.tokens(self.tokenizer, messages, tools)
            trained = self._mask_of_ids(ids, messages, tools)
        if self.template.ending:
            ids = [*ids, *self.template.ending]
            taught = self.target == "all" or messages[-1]["role"] == "assistant"
            trained = np.append(trained, np.full(len(self.template.ending), taught))
        return ids, trained

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _check(self, ids: list[int], messages: Messages, tools: Tools) -> None:
        """A tokenizer with a chat method of its own may not go through text: then we do not."""
        if self._to_check:
            self._to_check -= 1
            self._by_text = ids == self.template.tokens(self.tokenizer, messages, tools)
            if not self._by_text:
                self._to_check = 0

    def _mask(
        self, text: str, ids: list[int], messages: Messages, tools: Tools
    ) -> NDArray[np.bool_]:
        if self.target == "all":
            return np.ones(len(ids), np.bool_)

        def render(some: Messages, prompt: bool) -> str:
            return self.template.render(self.tokenizer, some, tools, prompt=prompt)

        trained = np.zeros(len(ids), np.bool_)
        last = len(messages) - 1
        if self.target == "completions":
            if last or messages[last]["role"] == "assistant":
                start, _ = turn_span(render, messages, last, text)
                trained[self._prompt_tokens(text, ids, start) :] = True
            return trained
        places = TokenMap(self.tokenizer, self._offsets, text, ids)
        for turn, message in enumerate(messages):
            if message["role"] == "assistant":
                start, end = turn_span(render, messages, turn, text)
                if end > start:
                    trained[places.first(start) : places.stop(end)] = True
        return trained

    def _prompt_tokens(self, text: str, ids: list[int], place: int) -> int:
        """How many tokens the text before character `place` is."""
        prompt = self._ids(text[:place])
        if ids[: len(prompt)] == prompt:
            return len(prompt)
        return TokenMap(self.tokenizer, self._offsets, text, ids).first(place)

    def _mask_of_ids(self, ids: list[int], messages: Messages, tools: Tools) -> NDArray[np.bool_]:
        """The mask where only the tokenizer's own ids of whole chats can be had."""
        trained = np.full(len(ids), self.target == "all", np.bool_)
        if self.target == "all":
            return trained
        last = len(messages) - 1
        for turn, message in enumerate(messages):
            answer = message["role"] == "assistant"
            wanted = answer if self.target == "assistant" else turn == last
            if wanted and turn:
                trained[self._shared_tokens(ids, messages[:turn], tools, answer) :] = True
            if not wanted and turn:
                trained[self._shared_tokens(ids, messages[:turn], tools, False) :] = False
        return trained

    def _shared_tokens(self, ids: list[int], some: Messages, tools: Tools, prompt: bool) -> int:
        return shared(self.template.tokens(self.tokenizer, some, tools, prompt=prompt), ids)

    def _fit(self, whole: Encoded) -> list[Encoded]:
        limit = self.options.max_seq_length
        over = len(whole) - limit
        if over <= 0:
            return [whole]
        if self.options.long_rows == "drop":
            return []
        if self.options.long_rows == "error":
            raise RowError(
                "long",
                f"the row has {len(whole)} tokens, {over} more than --max-seq-length {limit}.",
                "Shorten it, raise the length, or choose --long-rows cut, split or drop.",
                value=str(len(whole)),
            )
        if self.options.long_rows == "cut":
            return [_part(whole, 0, limit, over)]
        return [_part(whole, i, i + limit, 0) for i in range(0, len(whole) - 1, limit - 1)]


def _part(whole: Encoded, start: int, stop: int, cut: int) -> Encoded:
    """Tokens [start, stop); a later part begins with the last token of the one before it."""
    trained = whole.trained[start:stop].copy()
    trained[0] = False
    return Encoded(whole.ids[start:stop].copy(), trained, whole.kind, cut)
