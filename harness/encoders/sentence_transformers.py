"""Dense vectors of any sentence-transformers model, from the hub or a folder, or packaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.weights import Checkpoint, Precision, checkpoint, count_tokens, role_prompts
from harness.types import InputError, Representation, Role

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OTHERS = {"SparseEncoder": "splade", "MultiVectorEncoder": "colbert", "ColBERT": "colbert"}

PLACE = "{instruction}"  # in a prompt

ENCODERS.alias("minilm", "st:minilm")


@ENCODERS.register("st")
def sentence_transformer(
    target: str,
    *,
    revision: str | None = None,
    dtype: Precision = "float32",
    max_length: int | None = None,
    truncate_dim: int | None = None,
    device: str = "auto",
    batch_size: int = 32,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    text_prompt: str | None = None,
    trust_remote_code: bool = False,
) -> SentenceTransformerEncoder:
    """A sentence-transformers model: hub id, local folder or packaged name.

    revision: hub branch, tag or commit. query_prompt, document_prompt, text_prompt (sentences of
    pairs, labelled texts): in place of the model's own; {instruction} in one stands for what the
    task asks for. Raises InputError where the model cannot be had, is pickled or brings code.
    """
    found = checkpoint(
        target,
        revision=revision,
        dtype=dtype,
        max_length=max_length,
        device=device,
        trust_remote_code=trust_remote_code,
        truncate_dim=truncate_dim,
        batch_size=batch_size,
    )
    config = found.settings("config_sentence_transformers.json")
    if other := OTHERS.get(config.get("model_type")):
        raise InputError(f"{target} makes no dense vectors: expected {other}:{target}")
    similarity: Similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise InputError(f"{target} compares vectors by {similarity}: expected cosine or dot")
    default = config.get("default_prompt_name") or ""
    prompts = role_prompts(config.get("prompts") or {}, query_prompt, document_prompt, default)
    if text_prompt is not None:
        prompts["text"] = text_prompt
    return SentenceTransformerEncoder(found, truncate_dim, prompts, similarity, batch_size)


@dataclass(frozen=True)
class SentenceTransformerEncoder:
    """A model and what decides its vectors; its weights are loaded when a text needs them."""

    checkpoint: Checkpoint
    truncate_dim: int | None
    prompts: Mapping[Role, str]
    similarity: Similarity
    batch_size: int
    parent: SentenceTransformerEncoder | None = None

    makes: ClassVar[Representation] = "dense"

    @cached_property
    def model(self) -> SentenceTransformer:
        """The loaded model, which an encoder for one task's instructions shares."""
        if self.parent is not None:
            return self.parent.model
        model: SentenceTransformer = self.checkpoint.load(
            "SentenceTransformer", truncate_dim=self.truncate_dim
        )
        return model

    def fingerprint(self) -> Mapping[str, object]:
        """Weights (content or hub commit), dtype, maximal length, dimension kept."""
        return {**self.checkpoint.identity, "truncate_dim": self.truncate_dim}

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for the role, else none."""
        return self.prompts[role]

    def instructed(self, instructions: Mapping[str, str]) -> SentenceTransformerEncoder:
        """The same with a task's instructions, by role, in its prompts."""
        filled: dict[Role, str] = {
            role: prompt.replace(PLACE, instructions.get(role, PLACE))
            for role, prompt in self.prompts.items()
        }
        return self if filled == self.prompts else replace(self, prompts=filled, parent=self)

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        assert self.model is not None

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors [n, d] as float32. Raises what the model raises, and InputError where a prompt
        wants an instruction that the task does not have.
        """
        if PLACE in self.prompts[role]:
            raise InputError(
                f"{self.checkpoint.target}: its {role} prompt {self.prompts[role]!r} wants an "
                f"instruction, and the task has none: give {role}_prompt, or the task one in TOML"
            )
        options: dict[str, Any] = {} if role == "text" else {"task": role}
        values = self.model.encode(
            list(texts),
            prompt=self.prompts[role],
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
            **options,
        )
        counts = count_tokens(self.model, texts, self.prompts[role], self.model.max_seq_length)
        return Encoded(values.float().cpu().numpy(), *counts)
