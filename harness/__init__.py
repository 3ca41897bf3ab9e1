"""retrieval-harness: measure text-embedding and retrieval models.

from harness import evaluate
print(evaluate("minilm", "limit-small").record.main)
print(evaluate(my_function_of_texts, "limit-small").record.main)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.encoders.user_model import register as encoder
    from harness.encoders.user_model import register as model
    from harness.errors import EncodingError, HarnessError, InputError, StoreError
    from harness.pipeline import Evaluation, evaluate, evaluate_run

__all__ = [
    "EncodingError",
    "Evaluation",
    "HarnessError",
    "InputError",
    "StoreError",
    "encoder",
    "evaluate",
    "evaluate_run",
    "model",
]

_HOME = {
    "Evaluation": "pipeline.Evaluation",
    "encoder": "encoders.user_model.register",
    "evaluate": "pipeline.evaluate",
    "evaluate_run": "pipeline.evaluate_run",
    "model": "encoders.user_model.register",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import harness` stays fast."""
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    module, _, own = _HOME.get(name, f"errors.{name}").rpartition(".")
    return getattr(import_module(f"harness.{module}"), own)
