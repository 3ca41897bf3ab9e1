"""retrieval-harness: measure text-embedding and retrieval models.

from harness import evaluate, score
print(evaluate("minilm", "limit-small").record.main)
print(evaluate(my_function_of_texts, "limit-small").record.main)
print(score(my_run, my_qrels, ["nDCG@10", "R@100"]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import evaluate, evaluate_run
    from harness.encoders.user_model import register as encoder
    from harness.encoders.user_model import register as model
    from harness.errors import EncodingError, HarnessError, InputError, StoreError
    from harness.evaluation import Evaluation
    from harness.measures import measure
    from harness.scoring import Scores, score
    from harness.studies import study

    __version__: str

__all__ = [
    "EncodingError",
    "Evaluation",
    "HarnessError",
    "InputError",
    "Scores",
    "StoreError",
    "encoder",
    "evaluate",
    "evaluate_run",
    "measure",
    "model",
    "score",
    "study",
]

_HOME = {
    "Evaluation": "evaluation.Evaluation",
    "Scores": "scoring.Scores",
    "encoder": "encoders.user_model.register",
    "evaluate": "api.evaluate",
    "evaluate_run": "api.evaluate_run",
    "measure": "measures.measure",
    "model": "encoders.user_model.register",
    "score": "scoring.score",
    "study": "studies.study",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import harness` stays fast."""
    if name == "__version__":
        from importlib.metadata import version

        return version("retrieval-harness")
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    module, _, own = _HOME.get(name, f"errors.{name}").rpartition(".")
    return getattr(import_module(f"harness.{module}"), own)


def __dir__() -> list[str]:
    """List the public names, which completion shows."""
    return sorted([*__all__, "__version__"])
