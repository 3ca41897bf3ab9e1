"""Dense vectors of any sentence-transformers model, from the hub or a folder, or packaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.weights import Checkpoint, Precision, checkpoint, count_tokens, role_prompts
from harness.types import InputError, Representation, Role, reason

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

OTHERS = {"SparseEncoder": "splade", "MultiVectorEncoder": "colbert", "ColBERT": "colbert"}

PLACE = "{instruction}"  # in a prompt


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
    """A sentence-transformers model, or a model2vec one: hub id, local folder or packaged name.

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
    if max_length is not None and _static(found):
        raise InputError(f"{target}: max_length={max_length}: a static model reads all of a text")
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
        if _model2vec(self.checkpoint):
            return _load_model2vec(self.checkpoint, self.truncate_dim)
        model: SentenceTransformer = self.checkpoint.load(
            "SentenceTransformer", truncate_dim=self.truncate_dim
        )
        if _static(self.checkpoint):  # which ignores the dtype that it is loaded with
            import torch

            model.to(getattr(torch, self.checkpoint.dtype))
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
        """Vectors [n, d] as float32; of a text without tokens, zeros. Raises what the model raises,
        and InputError where a prompt wants an instruction that the task does not have.
        """
        if PLACE in self.prompts[role]:
            raise InputError(
                f"{self.checkpoint.target}: its {role} prompt {self.prompts[role]!r} wants an "
                f"instruction, and the task has none: give {role}_prompt, or the task one in TOML"
            )
        options: dict[str, Any] = {} if role == "text" else {"task": role}
        counts = count_tokens(self.model, texts, self.prompts[role], self.model.max_seq_length)
        kept = np.flatnonzero(counts[0]).tolist()  # models fail where a whole batch has no tokens
        if not len(kept):
            width = self.model.get_embedding_dimension()
            return Encoded(np.zeros((len(texts), width or 1), np.float32), *counts)
        found = self.model.encode(
            [texts[row] for row in kept],
            prompt=self.prompts[role],
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
            **options,
        )
        values = np.zeros((len(texts), found.shape[1]), np.float32)
        values[kept] = found.float().cpu().numpy()
        return Encoded(values, *counts)


def _static(found: Checkpoint) -> bool:
    """Whether a model averages vectors of tokens, which nothing around them changes."""
    modules = found.settings("modules.json") or [{"type": ""}]
    return _model2vec(found) or modules[0]["type"].endswith(".StaticEmbedding")


def _model2vec(found: Checkpoint) -> bool:
    """Whether a folder has model2vec's layout, with or without sentence-transformers' modules."""
    from safetensors import SafetensorError, safe_open

    path = found.folder / "model.safetensors"
    try:
        with safe_open(path, "np") as tensors:
            return "embeddings" in tensors.keys()  # noqa: SIM118
    except (OSError, SafetensorError):  # absent or broken: sentence-transformers will say
        return False


def _load_model2vec(found: Checkpoint, truncate_dim: int | None) -> SentenceTransformer:
    """A static model as model2vec reads it: unknown tokens count for nothing, a quantised
    vocabulary is spread, vectors are of unit length where config.json says so. Long texts are read
    to their end. Raises InputError where the folder does not hold a usable one.
    """
    import torch
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    try:
        tensors = load_file(found.folder / "model.safetensors")
        rows = tensors["embeddings"].float()
        if "mapping" in tensors:
            rows = rows[tensors["mapping"].long()]
        if "weights" in tensors:
            rows = rows * tensors["weights"].float()[:, None]
        tokenizer = Tokenizer.from_file(str(found.folder / "tokenizer.json"))
        tokenizer.no_truncation()
        first = StaticEmbedding(tokenizer, rows.to(getattr(torch, found.dtype)))
        first.embedding.padding_idx = _unknown_token(found, tokenizer)
        modules: list[Any] = [first]
        if found.settings("config.json").get("normalize"):
            modules.append(Normalize())
        device = None if found.device == "auto" else found.device
        return SentenceTransformer(modules=modules, device=device, truncate_dim=truncate_dim)
    except Exception as error:  # anything may be wrong with somebody's model folder
        raise InputError(
            f"{found.target}: cannot be loaded: {type(error).__name__}: {reason(error)}"
        ) from error


def _unknown_token(found: Checkpoint, tokenizer: Tokenizer) -> int | None:
    """The number of the token that stands for what a tokenizer does not know, if it has one."""
    model = found.settings("tokenizer.json")["model"]
    name = model.get("unk_token")
    number: int | None = model.get("unk_id") if name is None else tokenizer.token_to_id(name)
    return number
