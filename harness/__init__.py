"""retrieval-harness: measure text-embedding and retrieval models.

from harness import evaluate
print(evaluate("minilm", "limit-small").record.main)
print(evaluate(my_function_of_texts, "limit-small").record.main)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import embed, evaluate, evaluate_run, search
    from harness.collection import Collection
    from harness.encoders.own import register as model
    from harness.errors import EncodingError, HarnessError, InputError, StoreError
    from harness.evaluation import Evaluation
    from harness.results import Results, load
    from harness.session import Session
    from harness.systems.own import register as system

__all__ = [
    "Collection",
    "EncodingError",
    "Evaluation",
    "HarnessError",
    "InputError",
    "Results",
    "Session",
    "StoreError",
    "embed",
    "evaluate",
    "evaluate_run",
    "load",
    "model",
    "search",
    "system",
]

_HOME = {
    "Collection": "collection.Collection",
    "Evaluation": "evaluation.Evaluation",
    "Results": "results.Results",
    "Session": "session.Session",
    "embed": "api.embed",
    "evaluate": "api.evaluate",
    "evaluate_run": "api.evaluate_run",
    "load": "results.load",
    "model": "encoders.own.register",
    "search": "api.search",
    "system": "systems.own.register",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import harness` stays fast."""
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    module, _, own = _HOME.get(name, f"errors.{name}").rpartition(".")
    return getattr(import_module(f"harness.{module}"), own)
