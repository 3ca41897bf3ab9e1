"""Tasks of the mteb package with local data, and one model for mteb's evaluation and for ours."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest

from harness.data import Role
from harness.encoders import Encoded, Similarity, TextEncoder
from harness.encoders.hashing import Hashing
from harness.vectors import Representation

COUNTER = count(1)


@dataclass(frozen=True)
class Words(TextEncoder):
    """Counts of words in 16 dimensions; noise is a function of role and text, and 0 leaves ties."""

    similarity: Similarity = "cosine"
    noise: float = 0.1

    @property
    def representation(self) -> Representation:
        return "dense"

    def fingerprint(self) -> Mapping[str, object]:
        return {"algorithm": "words of the mteb tests", "noise": self.noise}

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        made = Hashing(16).encode(texts, role)
        for row, text in enumerate(texts):
            seed = hashlib.sha256(f"{role}|{text}".encode()).digest()[:8]
            noise = np.random.default_rng(int.from_bytes(seed, "little")).standard_normal(16)
            made.values[row] += self.noise * noise
        return made


def package() -> Any:
    """The mteb package; skips where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("mteb")


def declare(
    name: str, kind: str, main: str, load: Callable[[], Any], *, own: Any = (), **about: Any
) -> Any:
    """A class of task whose load_data puts what load() returns where mteb puts it.

    kind: the class it extends; own: further attributes; about: further metadata. The name is made
    unique: a class of an earlier test may live on.
    """
    package()
    name = f"{name}{next(COUNTER)}"
    from mteb import abstasks
    from mteb.abstasks.task_metadata import TaskMetadata

    def load_data(self: Any, num_proc: Any = None, **_: Any) -> None:
        if not self.data_loaded:
            self.dataset, self.data_loaded = load(), True

    types = {"Retrieval": "Retrieval", "ClusteringLegacy": "Clustering"}
    metadata = TaskMetadata(
        **{
            "name": name,
            "description": "local",
            "dataset": {"path": "local/local", "revision": "0123abcd"},
            "type": types.get(kind, kind),
            "category": "t2t",
            "eval_splits": ["test"],
            "eval_langs": ["eng-Latn"],
            "main_score": main,
            **about,
        }
    )
    body = {"metadata": metadata, "load_data": load_data, **dict(own)}
    return type(name, (getattr(abstasks, f"AbsTask{kind}"),), body)


def table(**columns: Any) -> Any:
    """A datasets.Dataset."""
    from datasets import Dataset

    return Dataset.from_dict(columns)


def searched(
    documents: Mapping[str, tuple[str, str]],
    queries: Mapping[str, str],
    judged: Mapping[str, Mapping[str, int]],
    *,
    instructions: Sequence[str | None] = (),
    top_ranked: Mapping[str, list[str]] | None = None,
) -> dict[str, Any]:
    """A retrieval split: documents by id as (title, text)."""
    asked = {"id": list(queries), "text": list(queries.values())}
    extra = {"instruction": list(instructions)} if instructions else {}
    titles, texts = zip(*documents.values(), strict=True)
    return {
        "corpus": table(id=list(documents), title=list(titles), text=list(texts)),
        "queries": table(**asked, **extra),
        "relevant_docs": judged,
        "top_ranked": top_ranked,
    }


def scores(task: Any, model: Words) -> dict[str, dict[str, Any]]:
    """What mteb.evaluate makes of the model, by subset of the task."""
    mteb = package()
    import torch
    from mteb.models import ModelMeta
    from mteb.similarity_functions import cos_sim, dot_score, pairwise_cos_sim, pairwise_dot_score

    class Wrapped:
        cosine = model.similarity == "cosine"
        similarity = staticmethod(cos_sim if cosine else dot_score)
        similarity_pairwise = staticmethod(pairwise_cos_sim if cosine else pairwise_dot_score)
        mteb_model_meta = ModelMeta.create_empty(
            overwrites={"name": "local/words", "revision": "local"}
        )

        def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> Any:
            role = prompt_type.value if prompt_type else "text"
            texts = [text for batch in inputs for text in batch["text"]]
            return torch.from_numpy(model.encode(texts, role).values)

    quiet = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mteb.evaluate(Wrapped(), task, **quiet)
    return {row["hf_subset"]: row for row in result.task_results[0].scores["test"]}
