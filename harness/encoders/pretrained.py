"""What encoders of sentence-transformers have in common, whatever they make of a text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int32
from harness.data import Purpose, Role
from harness.encoders import TextEncoder
from harness.encoders.checkpoint import Checkpoint
from harness.encoders.models import MODELS
from harness.encoders.prompting import Prompting, ask
from harness.encoders.sizes import count_parameters
from harness.errors import EncodingError, reason
from harness.wording import count


@dataclass(frozen=True, kw_only=True)
class PretrainedEncoder(TextEncoder):
    """A checkpoint and what is put before texts; the weights are with MODELS.

    Attributes:
        checkpoint: Which weights, and how they compute.
        prompting: What is put before a text in each role.
        batch_size: Texts that the model reads together.
        handed: A model that somebody loaded, in place of the checkpoint's weights.
    """

    checkpoint: Checkpoint
    prompting: Prompting
    batch_size: int = 32
    handed: Any = None

    @property
    def key(self) -> Hashable:
        """Which weights these are among all that are loaded."""
        return (type(self).__name__, self.checkpoint.key)

    @property
    def model(self) -> Any:
        """The model, loaded where it is not. Raises InputError where it cannot be."""
        return MODELS.get(self.key, self.read_weights) if self.handed is None else self.handed

    @abstractmethod
    def read_weights(self) -> Any:
        """Load the model anew. Raises InputError where its folder does not hold a usable one."""

    @property
    def prompts(self) -> Mapping[Role, str]:
        """What is put before a text in each role."""
        return self.prompting.texts

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for task and role, else none."""
        return self.prompting.text(role)

    def name_prompt(self, role: Role) -> str:
        """The parameter that gives it, or what the model calls it."""
        return self.prompting.name(role)

    def for_task(self, purpose: Purpose) -> Self:
        """Give the same with its prompts for a task."""
        return replace(self, prompting=replace(self.prompting, purpose=purpose))

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        if self.handed is None:
            MODELS.get(self.key, self.read_weights)

    def ask(
        self, texts: Sequence[str], role: Role, limit: int | None, **options: Any
    ) -> tuple[list[int], Any, tuple[Int32, NDArray[np.bool_]]]:
        """What the model makes of texts, with its prompt: see `prompting.ask`.

        Raises InputError where a prompt wants an instruction that the task does not have, and
        EncodingError for whatever the model raises.
        """
        model, name = self.model, self.checkpoint.target
        prompt = self.prompting.require(role, name)
        try:
            return ask(model, texts, role, prompt, limit, **options)
        except Exception as error:  # anything may be wrong with somebody's model
            raise EncodingError(
                f"{name} fails on {count(len(texts), 'text')}: "
                f"{type(error).__name__}: {reason(error)}"
            ) from error

    @property
    def parameters(self) -> int | None:
        """Numbers in the weights of all modules."""
        if self.handed is not None:
            return int(sum(one.numel() for one in self.handed.parameters()))
        return count_parameters(self.checkpoint.folder)

    def made_with(self) -> Mapping[str, str]:
        """Tell device, threads, dtype, batch size and the versions of libraries."""
        return self.checkpoint.made_with(self.batch_size)
