"""Models of the mteb package, called as mteb calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from harness.data import NO_TASK, Purpose, Role

BATCH = 32  # texts that a model is given at a time


@dataclass(frozen=True)
class OfMteb:
    """The encode of a model of mteb, told of the task what decides mteb's prompts."""

    encode: Callable[..., object]
    purpose: Purpose = NO_TASK

    def __call__(self, texts: list[str], role: Role) -> object:
        """What it returns for texts in a role."""
        from datasets import Dataset
        from mteb.abstasks.task_metadata import TaskMetadata, TaskType
        from mteb.types import PromptType
        from torch.utils.data import DataLoader

        purpose, usual = self.purpose, "STS" if role == "text" else "Retrieval"
        task: dict[str, Any] = {
            "name": purpose.name or "Own",
            "description": "texts to be encoded",
            "dataset": {"path": "local/own", "revision": "local"},
            "type": purpose.type if purpose.type in get_args(TaskType) else usual,
            "category": "t2t",
            "eval_langs": ["eng-Latn"],
            "main_score": "cosine_spearman" if role == "text" else "ndcg_at_10",
            "prompt": dict(purpose.instructions) or None,
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
