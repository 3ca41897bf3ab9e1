"""Models of the mteb package, called as mteb calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.data import Role

BATCH = 32  # texts that a model is given at a time


@dataclass(frozen=True)
class OfMteb:
    """The encode of a model of mteb; it learns of the task only its instructions, by role."""

    encode: Callable[..., object]
    instructions: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, texts: list[str], role: Role) -> object:
        """What it returns for texts in a role."""
        from datasets import Dataset
        from mteb.abstasks.task_metadata import TaskMetadata
        from mteb.types import PromptType
        from torch.utils.data import DataLoader

        task: dict[str, Any] = {
            "name": "Own",
            "description": "texts to be encoded",
            "dataset": {"path": "local/own", "revision": "local"},
            "type": "STS" if role == "text" else "Retrieval",
            "category": "t2t",
            "eval_langs": ["eng-Latn"],
            "main_score": "cosine_spearman" if role == "text" else "ndcg_at_10",
            "prompt": dict(self.instructions) or None,
        }
        return self.encode(
            DataLoader(Dataset.from_dict({"text": texts}), batch_size=BATCH),
            task_metadata=TaskMetadata(**task),
            hf_split="test",
            hf_subset="default",
            prompt_type=None if role == "text" else PromptType(role),
            batch_size=BATCH,
            show_progress_bar=False,
        )
