"""Late interaction: a vector for each token of a text (ColBERT, Khattab and Zaharia 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.weights import Checkpoint, Precision, checkpoint, count_tokens, role_prompts
from harness.types import InputError, MultiVector, Representation, Role

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

PYLATE = ("pylate.models.Dense.Dense",)  # sentence-transformers reads it as its own Dense


@ENCODERS.register("colbert")
def late_interaction(
    target: str,
    *,
    revision: str | None = None,
    dtype: Precision = "float32",
    max_length: int | None = None,
    device: str = "auto",
    batch_size: int = 32,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
) -> LateInteractionEncoder:
    """A late-interaction model, or any other by its token vectors: hub id, folder, packaged name.

    Checkpoints of sentence-transformers, PyLate and Stanford's ColBERT. A model that was not made
    for late interaction gets a random projection of its token vectors to 128 dimensions, by `seed`,
    and a warning. max_length: tokens of a document, and of a query that is not filled up to a fixed
    length; else as for st. Raises InputError where the model cannot be had, is pickled or brings
    code.
    """
    found = checkpoint(
        target,
        revision=revision,
        dtype=dtype,
        max_length=max_length,
        device=device,
        trust_remote_code=trust_remote_code,
        foreign=PYLATE,
        batch_size=batch_size,
    )
    if seed < 0:
        raise InputError(f"{target}: seed={seed}: expected 0 or more")
    prompts = role_prompts(_own_prompts(found), query_prompt, document_prompt)
    return LateInteractionEncoder(found, prompts, batch_size, None if _trained(found) else seed)


@dataclass(frozen=True)
class LateInteractionEncoder:
    """A model and what decides its vectors; its weights are loaded when a text needs them.

    seed: of the random projection; None where the model has its own.
    """

    checkpoint: Checkpoint
    prompts: Mapping[Role, str]
    batch_size: int
    seed: int | None

    makes: ClassVar[Representation] = "multi-vector"
    similarity: ClassVar[Similarity] = "maxsim"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whether the projection is random."""
        if self.seed is None:
            return ()
        return (
            f"{self.checkpoint.target} was not made for late interaction: its token vectors are "
            f"projected at random (seed {self.seed})",
        )

    @cached_property
    def model(self) -> MultiVectorEncoder:
        """The loaded model."""
        model: MultiVectorEncoder = self.checkpoint.load("MultiVectorEncoder")
        if self.seed is not None:
            _project(model, self.seed)
        first: Any = model[0]
        for name in ("query_length", "document_length"):
            if self.checkpoint.max_length is not None and getattr(first, name, None) is not None:
                setattr(first, name, self.checkpoint.max_length)
        return model

    def fingerprint(self) -> Mapping[str, object]:
        """Weights (content or hub commit), dtype, maximal length, seed of the projection."""
        return {**self.checkpoint.identity, "makes": self.makes, "projection_seed": self.seed}

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for the role with its marker, else none."""
        return self.prompts[role]

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        assert self.model is not None

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors of every token that takes part in scoring, of a text without tokens
        none. Raises what the model raises.
        """
        options: dict[str, Any] = {} if role == "text" else {"task": role}
        counts = count_tokens(self.model, texts, self.prompts[role], self._limit(role))
        kept = np.flatnonzero(counts[0]).tolist()  # models fail where a whole batch has no tokens
        offsets = np.zeros(len(texts) + 1, np.int64)
        if not kept:
            width = self.model.get_embedding_dimension()
            return Encoded(MultiVector(np.zeros((0, width or 1), np.float32), offsets), *counts)
        rows = self.model.encode(
            [texts[row] for row in kept],
            prompt=self.prompts[role],
            batch_size=self.batch_size,
            show_progress_bar=False,
            **options,
        )
        arrays = [row.float().cpu().numpy() for row in rows]
        offsets[1:][kept] = [len(array) for array in arrays]
        return Encoded(MultiVector(np.concatenate(arrays), offsets.cumsum()), *counts)

    def _limit(self, role: Role) -> int | None:
        """Tokens that the model reads of a text in this role."""
        first: Any = self.model[0]
        limit: int | None = getattr(first, f"{role}_length", None) or self.model.max_seq_length
        expansion = getattr(first, "query_expansion", None) if role == "query" else None
        if expansion is None:
            return limit
        length: int = expansion["length"]
        return length if expansion["strategy"] == "fixed" else max(limit or 0, length)


def _trained(found: Checkpoint) -> bool:
    """Whether sentence-transformers finds a projection, by the rules it loads a folder by."""
    architectures = found.settings("config.json").get("architectures") or []
    if any(name == "HF_ColBERT" or name.endswith("ForRetrieval") for name in architectures):
        return True
    modules = found.settings("modules.json") or []
    kind = found.settings("config_sentence_transformers.json").get("model_type")
    if kind in ("MultiVectorEncoder", "ColBERT"):
        return bool(modules)
    projected = any(module["type"].endswith(".Dense") for module in modules)
    return projected and kind in (None, "SentenceTransformer")


def _project(model: MultiVectorEncoder, seed: int) -> None:
    """Draw the projection that sentence-transformers added anew, so that only `seed` decides it."""
    import torch
    from sentence_transformers.base.modules import Dense

    (added,) = [module for module in model if isinstance(module, Dense)]
    weight = added.linear.weight
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = torch.nn.Linear(added.in_features, added.out_features, bias=False).weight
    with torch.no_grad():
        weight.copy_(drawn)


def _own_prompts(found: Checkpoint) -> dict[str, str | None]:
    """A model's prompts; ColBERT's begin with a marker of the role, which is kept elsewhere."""
    config = found.settings("config_sentence_transformers.json")
    own: dict[str, str | None] = {k: v for k, v in (config.get("prompts") or {}).items() if v}
    if "HF_ColBERT" in (found.settings("config.json").get("architectures") or []):
        metadata = found.settings("artifact.metadata")
        marks = {
            "query": (metadata.get("query_token_id") or "[unused0]") + " ",
            "document": (metadata.get("doc_token_id") or "[unused1]") + " ",
        }
        return {**marks, **own}
    for role in ("query", "document"):  # PyLate's
        mark = config.get(f"{role}_prefix") or ""
        if mark:
            own[role] = mark + (own.get(role) or "").removeprefix(mark)
    return own
