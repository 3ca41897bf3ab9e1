"""Late interaction: a vector for each token of a text (ColBERT, Khattab and Zaharia 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.asking import Prompts, ask, filled, role_prompts, whole_prompt
from harness.encoders.weights import Checkpoint, Precision, checkpoint
from harness.errors import InputError
from harness.vectors import MultiVector, Representation

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

PYLATE = ("pylate.models.Dense.Dense",)  # sentence-transformers reads it as its own Dense
STANFORD = "HF_ColBERT"  # the architecture that Stanford's ColBERT names


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
    """Token vectors of a late-interaction model, or of any other: hub id, folder, packaged name.

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
    drawn = None if _trained(found) else seed
    model = cache(lambda: _load(found, drawn))
    return LateInteractionEncoder(found, model, prompts, batch_size, drawn)


@dataclass(frozen=True)
class LateInteractionEncoder:
    """A model and what decides its vectors. model: gives it, loaded when it is first wanted.

    seed: of the random projection; None where the model has its own.
    """

    checkpoint: Checkpoint
    model: Callable[[], MultiVectorEncoder]
    prompts: Prompts
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

    def fingerprint(self) -> Mapping[str, object]:
        """Weights (content or hub commit), dtype, maximal length, seed of the projection."""
        return {**self.checkpoint.identity, "makes": self.makes, "projection_seed": self.seed}

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for the role with its marker, else none."""
        return self.prompts[role]

    def instructed(self, instructions: Mapping[str, str]) -> LateInteractionEncoder:
        """The same with a task's instructions, by role, in its prompts."""
        return replace(self, prompts=filled(self.prompts, instructions))

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        self.model()

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors of every token that takes part in scoring, of a text without tokens none. Raises
        what the model raises, and InputError where a prompt wants an instruction that the task does
        not have.
        """
        prompt, model = whole_prompt(self.prompts, role, self.checkpoint.target), self.model()
        limit, size = _limit(model, role), self.batch_size
        rows, made, counts = ask(model, texts, role, prompt, limit, batch_size=size)
        none = np.zeros((0, model.get_embedding_dimension() or 1), np.float32)
        arrays = [row.float().cpu().numpy() for row in made]
        offsets = np.zeros(len(texts) + 1, np.int64)
        offsets[1:][rows] = [len(array) for array in arrays]
        values = np.concatenate(arrays or [none])
        return Encoded(MultiVector(values, offsets.cumsum()), *counts)


def _load(found: Checkpoint, seed: int | None) -> MultiVectorEncoder:
    """The model, its projection drawn by the seed, reading as much as the spec asks for."""
    model: MultiVectorEncoder = found.load("MultiVectorEncoder")
    if seed is not None:
        _project(model, seed)
    first: Any = model[0]
    for name in ("query_length", "document_length"):
        if found.max_length is not None and getattr(first, name, None) is not None:
            setattr(first, name, found.max_length)
    return model


def _limit(model: MultiVectorEncoder, role: Role) -> int | None:
    """Tokens that a model reads of a text in this role."""
    first: Any = model[0]
    limit: int | None = getattr(first, f"{role}_length", None) or model.max_seq_length
    expansion = getattr(first, "query_expansion", None) if role == "query" else None
    if expansion is None:
        return limit
    length: int = expansion["length"]
    return length if expansion["strategy"] == "fixed" else max(limit or 0, length)


def _trained(found: Checkpoint) -> bool:
    """Whether sentence-transformers finds a projection, by the rules it loads a folder by."""
    if any(name.endswith((STANFORD, "ForRetrieval")) for name in found.architectures):
        return True
    modules = found.settings("modules.json") or []
    kind = found.config.get("model_type")
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
    config = found.config
    own: dict[str, str | None] = {k: v for k, v in (config.get("prompts") or {}).items() if v}
    if STANFORD in found.architectures:
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
