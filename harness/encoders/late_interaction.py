"""Late interaction: a vector for each token of a text (ColBERT, Khattab and Zaharia 2020)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.checkpoint import MODEL, Checkpoint, ModelOptions, checkpoint, count_positions
from harness.encoders.pretrained import Batch, PretrainedEncoder
from harness.encoders.prompting import MODEL_S_OWN, PromptOptions
from harness.encoders.settings import Artifact
from harness.parameters import check_range
from harness.vectors import MultiVector, Representation

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

    from harness.packing.batches import Features
    from harness.packing.model import Taken

PYLATE = ("pylate.models.Dense.Dense",)  # sentence-transformers reads it as its own Dense
STANFORD = "HF_ColBERT"  # the architecture that Stanford's ColBERT names


@ENCODERS.register("colbert")
def late_interaction(
    target: str,
    *,
    options: ModelOptions = MODEL,
    prompts: PromptOptions = MODEL_S_OWN,
    seed: int = 0,
) -> LateInteractionEncoder:
    """Token vectors of a late-interaction model, or of any other: hub id, folder, packaged name.

    Checkpoints of sentence-transformers, PyLate and Stanford's ColBERT. A model that was not made
    for late interaction gets a random projection of its token vectors to 128 dimensions, by `seed`,
    and the record says so. max_length: tokens of a document, and of a query that is not filled up
    to a fixed length.

    Args:
        target: The model.
        options: How it is had and run.
        prompts: For queries and documents, in place of the model's own.
        seed: Of the random projection.

    Returns:
        The encoder.

    Raises:
        InputError: The model cannot be had, is pickled or brings code.
    """
    check_range(target, seed=(seed, 0, inf))
    found = checkpoint(target, options, foreign=PYLATE)
    return LateInteractionEncoder(
        checkpoint=found,
        prompting=prompts.replace_own(_own_prompts(found)),
        batch_size=options.batch_size,
        seed=None if _has_projection(found) else seed,
    )


@dataclass(frozen=True, kw_only=True)
class LateInteractionEncoder(PretrainedEncoder):
    """A model that makes a vector of each token.

    Attributes:
        seed: Of the random projection; None where the model has its own.
    """

    representation: ClassVar[Representation] = "multi-vector"
    similarity: ClassVar[Similarity] = "maxsim"

    seed: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether the projection is random."""
        if self.seed is None:
            return ()
        return (
            f"{self.checkpoint.target} was not made for late interaction: its token vectors are "
            f"projected at random (seed {self.seed})",
        )

    @property
    def key(self) -> Hashable:
        """Which weights these are, with their projection, among all that are loaded."""
        return (type(self).__name__, self.checkpoint.key, self.seed)

    def fingerprint(self) -> Mapping[str, object]:
        """Tell weights (content or hub commit), dtype, maximal length, seed of the projection."""
        made = {"makes": self.representation, "projection_seed": self.seed}
        return {**self.checkpoint.identity, **made}

    def read_weights(self) -> MultiVectorEncoder:
        """Load the model, its projection drawn by the seed, reading as much as the spec asks for.

        Raises InputError where its folder does not hold a usable one.
        """
        model: MultiVectorEncoder = self.checkpoint.load("MultiVectorEncoder")
        limit, most = self.checkpoint.options.max_length, count_positions(model)
        if self.seed is not None:
            with self.checkpoint.loading():
                _project(model, self.seed)
        first: Any = model[0]
        for name in ("query_length", "document_length"):
            own = getattr(first, name, None)
            if own is not None and (limit or most):
                setattr(first, name, limit or min(own, most))
        return model

    def limit(self, role: Role) -> int | None:
        """The model's own for the role, or the spec's."""
        return _limit(self.model, role)

    def take(self, made: Features, texts: int) -> Taken:
        """Vectors of unit length [t, d] of tokens that take part in scoring, how many of each."""
        from torch.nn.functional import normalize

        kept = made["attention_mask"][:texts].bool()
        return normalize(made["token_embeddings"][:texts][kept], p=2, dim=-1).float(), kept.sum(1)

    def put(self, taken: Sequence[Batch], texts: int) -> MultiVector:
        """Vectors of the tokens of all texts; of a text without tokens none."""
        none = np.zeros((0, self.model.get_embedding_dimension() or 1), np.float32)
        arrays = [none] * texts
        for rows, (vectors, lengths) in taken:
            parts = np.split(vectors, lengths.cumsum()[:-1])
            for row, part in zip(rows.tolist(), parts, strict=True):
                arrays[row] = part
        offsets = np.zeros(texts + 1, np.int64)
        offsets[1:] = [len(array) for array in arrays]
        return MultiVector(np.concatenate([none, *arrays]), offsets.cumsum())

    def encode_asked(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors of every token that takes part in scoring, of a text without tokens none."""
        rows, made, counts = self.ask(texts, role, self.limit(role))
        arrays = [row.float().cpu().numpy() for row in made]
        lengths = np.array([len(array) for array in arrays])
        taken = [(np.array(rows), [np.concatenate(arrays), lengths])] if rows else []
        return Encoded(self.put(taken, len(texts)), *counts)


def _limit(model: MultiVectorEncoder, role: Role) -> int | None:
    """Tokens that a model reads of a text in this role."""
    first: Any = model[0]
    limit: int | None = getattr(first, f"{role}_length", None) or model.max_seq_length
    expansion = getattr(first, "query_expansion", None) if role == "query" else None
    if expansion is None:
        return limit
    length: int = expansion["length"]
    return length if expansion["strategy"] == "fixed" else max(limit or 0, length)


def _has_projection(found: Checkpoint) -> bool:
    """Whether sentence-transformers finds a projection, by the rules it loads a folder by."""
    if any(name.endswith((STANFORD, "ForRetrieval")) for name in found.architectures):
        return True
    kind = found.saved.model_type
    if kind in ("MultiVectorEncoder", "ColBERT"):
        return bool(found.modules)
    projected = any(one.endswith(".Dense") for one in found.modules)
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
    saved = found.saved
    own: dict[str, str | None] = {k: v for k, v in (saved.prompts or {}).items() if v}
    if STANFORD in found.architectures:
        artifact = found.settings("artifact.metadata", Artifact)
        marks = {
            "query": (artifact.query_token_id or "[unused0]") + " ",
            "document": (artifact.doc_token_id or "[unused1]") + " ",
        }
        return {**marks, **own}
    for role, mark in (("query", saved.query_prefix), ("document", saved.document_prefix)):
        if mark:  # PyLate's
            own[role] = mark + (own.get(role) or "").removeprefix(mark)
    return own
