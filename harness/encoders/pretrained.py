"""What encoders of sentence-transformers have in common, whatever they make of a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int32
from harness.data import Role
from harness.encoders import Encoded
from harness.encoders.blaming import blame_model
from harness.encoders.checkpoint import Checkpoint
from harness.encoders.models import MODELS
from harness.encoders.prompting import PromptedEncoder, ask
from harness.encoders.sizes import count_parameters
from harness.errors import EncodingError
from harness.wording import count


@dataclass(frozen=True, kw_only=True)
class Pretrained(ABC):
    """A model of sentence-transformers; the weights are with MODELS.

    Attributes:
        checkpoint: Which weights, and how they compute.
        batch_size: Texts, or pairs of them, that the model reads together.
        handed: A model that somebody loaded, in place of the checkpoint's weights.
    """

    checkpoint: Checkpoint
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

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        if self.handed is None:
            MODELS.get(self.key, self.read_weights)

    @property
    def parameters(self) -> int | None:
        """Numbers in the weights of all modules."""
        if self.handed is not None:
            return int(sum(one.numel() for one in self.handed.parameters()))
        return count_parameters(self.checkpoint.folder)

    @property
    def device_kind(self) -> str:
        """As torch calls it; "" for the processor."""
        return self.checkpoint.device_kind

    def blaming(self, what: str) -> AbstractContextManager[None]:
        """Raise EncodingError in place of whatever the model raises. what: as in 3 texts."""
        relief = self.checkpoint.relief(self.batch_size)
        if self.handed is not None:
            relief = "hand over a model on another device, or with weights in 16 bits"
        return blame_model(f"{self.checkpoint.target} fails on {what}", EncodingError, relief)

    def made_with(self) -> Mapping[str, str]:
        """Tell device, threads, dtype, batch size and the versions of libraries."""
        return self.checkpoint.made_with(self.batch_size)


class PretrainedEncoder(Pretrained, PromptedEncoder):
    """A model that makes vectors of texts, with what is put before them."""

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts.

        Args:
            texts: Any number of texts.
            role: What the texts are.

        Returns:
            Vectors in the order of the texts; of a text without tokens zeros, or none.

        Raises:
            InputError: The model cannot be loaded, has fewer dimensions than are to be kept, or a
                prompt wants an instruction that the task does not have.
            EncodingError: The model fails, whatever it raises.
        """
        with self.blaming(count(len(texts), "text")):
            return self.encode_asked(texts, role)

    @abstractmethod
    def encode_asked(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts by what `ask` gives."""

    def ask(
        self, texts: Sequence[str], role: Role, limit: int | None, **options: Any
    ) -> tuple[list[int], Any, tuple[Int32, NDArray[np.bool_]]]:
        """What the model makes of texts, with its prompt: see `prompting.ask`.

        Raises InputError where a prompt wants an instruction that the task does not have.
        """
        prompt = self.prompting.require(role, self.checkpoint.target)
        options["batch_size"] = self.batch_size
        return ask(self.model, texts, role, prompt, limit, **options)
