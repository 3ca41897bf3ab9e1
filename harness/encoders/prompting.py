"""What models are asked: prompts before texts, tokens counted, texts without any left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int32
from harness.data import NO_TASK, Purpose, Role
from harness.encoders import TextEncoder
from harness.errors import InputError

PLACE = "{instruction}"  # in a prompt: where what the task asks for goes
DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # sentence-transformers' own order


@dataclass(frozen=True)
class Prompting:
    """What is put before texts: what a spec gives for a role, else one of the model's own prompts.

    Which of these is decided as mteb does, the most particular name first: "TASK-query", "TASK",
    "TYPE-query", "TYPE", "query". A prompt that is there and empty counts.

    Attributes:
        own: The model's prompts by their names; {instruction} in one stands for the task's.
        given: By role.
        default: Which of its own is put before texts of neither role.
        purpose: What texts are encoded for.
    """

    own: Mapping[str, str | None] = field(default_factory=dict)
    given: Mapping[Role, str] = field(default_factory=dict)
    default: str = ""
    purpose: Purpose = NO_TASK

    def name(self, role: Role) -> str:
        """What the prompt of a role is called; "" where there is none."""
        if role in self.given:
            return f"{role}_prompt"
        usual: dict[Role, tuple[str, ...]]
        usual = {"query": ("query",), "document": DOCUMENT_PROMPTS, "text": (self.default,)}
        names = list[str]()
        for known in filter(None, (self.purpose.name, self.purpose.type)):
            names += [known] if role == "text" else [f"{known}-{role}", known]
        return next((name for name in (*names, *usual[role]) if name in self.own), "")

    def text(self, role: Role) -> str:
        """The prompt of a role, with the task's instruction in its place."""
        prompt = self.given[role] if role in self.given else self.own.get(self.name(role)) or ""
        return prompt.replace(PLACE, self.purpose.instructions.get(role, PLACE))

    def require(self, role: Role, model: str) -> str:
        """The prompt of a role. Raises InputError where an instruction lacks in its place."""
        prompt = self.text(role)
        if PLACE in prompt:
            raise InputError(
                f"{model}: its {role} prompt {prompt!r} wants an instruction, and the task has "
                f"none: give {role}_prompt, or the task one in TOML"
            )
        return prompt


@dataclass(frozen=True)
class PromptOptions:
    """What a spec puts before texts in place of the model's own prompts.

    Attributes:
        query_prompt: Before queries.
        document_prompt: Before documents.
    """

    query_prompt: str | None = None
    document_prompt: str | None = None

    def replace_own(
        self, own: Mapping[str, str | None], default: str = "", text: str | None = None
    ) -> Prompting:
        """Take them in place of a model's own.

        Args:
            own: The model's prompts by their names.
            default: The name of the one for texts of neither role.
            text: What is taken in its place.
        """
        asked: dict[Role, str | None]
        asked = {"query": self.query_prompt, "document": self.document_prompt, "text": text}
        given = {role: prompt for role, prompt in asked.items() if prompt is not None}
        return Prompting(own, given, default)


MODEL_S_OWN = PromptOptions()


@dataclass(frozen=True, kw_only=True)
class PromptedEncoder(TextEncoder):
    """An encoder that puts something before texts.

    Attributes:
        prompting: What is put before a text in each role.
    """

    prompting: Prompting

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for task and role, else none."""
        return self.prompting.text(role)

    def name_prompt(self, role: Role) -> str:
        """The parameter that gives it, or what the model calls it."""
        return self.prompting.name(role)

    def for_task(self, purpose: Purpose) -> Self:
        """Give the same with its prompts, and a task's instructions in them."""
        return replace(self, prompting=replace(self.prompting, purpose=purpose))


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
