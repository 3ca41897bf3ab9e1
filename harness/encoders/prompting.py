"""What models are asked: prompts before texts, tokens counted, texts without any left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int32
from harness.data import Role
from harness.errors import InputError

PLACE = "{instruction}"  # in a prompt: where what the task asks for goes
DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # sentence-transformers' own order

Prompts = Mapping[Role, str]


@dataclass(frozen=True)
class PromptOptions:
    """What a spec puts before texts in place of the model's own prompts.

    Attributes:
        query_prompt: Before queries.
        document_prompt: Before documents.
    """

    query_prompt: str | None = None
    document_prompt: str | None = None


MODEL_S_OWN = PromptOptions()


def role_prompts(
    own: Mapping[str, str | None],
    given: PromptOptions = MODEL_S_OWN,
    text: str | None = None,
    *,
    default: str = "",
) -> Prompts:
    """Choose what is put before a text in each role.

    Args:
        own: The model's prompts by their names.
        given: What is taken in their place, for queries and documents.
        text: The same for texts of neither role.
        default: The name of the model's own prompt for these.

    Returns:
        What is given, else the model's own, else nothing.
    """

    def choose(asked: str | None, *names: str) -> str:
        if asked is not None:
            return asked
        return next((own[name] or "" for name in names if name in own), "")

    return {
        "query": choose(given.query_prompt, "query"),
        "document": choose(given.document_prompt, *DOCUMENT_PROMPTS),
        "text": choose(text, default),
    }


def fill(prompts: Prompts, instructions: Mapping[str, str]) -> Prompts:
    """Prompts with a task's instructions, by role, in their places."""
    return {
        role: prompt.replace(PLACE, instructions.get(role, PLACE))
        for role, prompt in prompts.items()
    }


def whole_prompt(prompts: Prompts, role: Role, model: str) -> str:
    """The prompt of a role. Raises InputError where its place for an instruction is not filled."""
    prompt = prompts[role]
    if PLACE in prompt:
        raise InputError(
            f"{model}: its {role} prompt {prompt!r} wants an instruction, and the task has none: "
            f"give {role}_prompt, or the task one in TOML"
        )
    return prompt


def ask(
    model: Any, texts: Sequence[str], role: Role, prompt: str, limit: int | None, **options: Any
) -> tuple[list[int], Any, tuple[Int32, NDArray[np.bool_]]]:
    """What a model of sentence-transformers makes of texts, put to it in their order.

    Gives the rows of the texts that have tokens, what is made of these, and for all texts how many
    tokens each has and whether they pass the limit. Models fail where a whole batch has no tokens.
    """
    counts = count_tokens(model, texts, prompt, limit)
    rows: list[int] = np.flatnonzero(counts[0]).tolist()
    if not rows:
        return rows, [], counts
    if role != "text":
        options["task"] = role
    asked = [texts[row] for row in rows]
    return rows, model.encode(asked, prompt=prompt, show_progress_bar=False, **options), counts


def count_tokens(
    model: Any, texts: Sequence[str], prompt: str, limit: int | None
) -> tuple[Int32, NDArray[np.bool_]]:
    """Tokens [n] of each text before truncation, and whether they pass the limit.

    Counted by the model's own tokenizer; -1 where it has none.
    """
    prompted, tokenizer = [prompt + text for text in texts], model.tokenizer
    if hasattr(tokenizer, "encode_batch"):  # a bare tokenizers.Tokenizer: static models
        rows = [
            encoding.ids for encoding in tokenizer.encode_batch(prompted, add_special_tokens=False)
        ]
    elif callable(tokenizer):
        rows = tokenizer(prompted, truncation=False, verbose=False)["input_ids"]
    else:
        return np.full(len(texts), -1, np.int32), np.zeros(len(texts), np.bool_)
    tokens = np.fromiter(map(len, rows), np.int32, len(rows))
    return tokens, tokens > limit if limit else np.zeros(len(texts), np.bool_)
