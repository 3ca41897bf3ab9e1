"""retrieval-harness: measure text-embedding and retrieval models.

from harness import evaluate, score
print(evaluate("minilm", "limit-small").record.main)
print(evaluate(my_function_of_texts, "limit-small").record.main)
print(score(my_run, my_qrels, ["nDCG@10", "R@100"]))
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer than all else that comes before signals are heard

if TYPE_CHECKING:
    from harness.api import embed, evaluate, evaluate_run, load, search
    from harness.encoders.user_model import register as encoder
    from harness.encoders.user_model import register as model
    from harness.errors import EncodingError, HarnessError, InputError, StoreError
    from harness.evaluation import Evaluation
    from harness.measures import measure
    from harness.results import Results, StoppedError
    from harness.scoring import Scores, score
    from harness.session import Session
    from harness.studies import study
    from harness.systems.own import register as system
    from harness.tasks.collection import Collection

__version__ = "0.2.0"

__all__ = [
    "Collection",
    "EncodingError",
    "Evaluation",
    "HarnessError",
    "InputError",
    "Results",
    "Scores",
    "Session",
    "StoppedError",
    "StoreError",
    "embed",
    "encoder",
    "evaluate",
    "evaluate_run",
    "load",
    "measure",
    "model",
    "score",
    "search",
    "study",
    "system",
]

_HOME = {
    "Collection": "tasks.collection.Collection",
    "Evaluation": "evaluation.Evaluation",
    "Results": "results.Results",
    "Scores": "scoring.Scores",
    "Session": "session.Session",
    "StoppedError": "results.StoppedError",
    "embed": "api.embed",
    "encoder": "encoders.user_model.register",
    "evaluate": "api.evaluate",
    "evaluate_run": "api.evaluate_run",
    "load": "api.load",
    "measure": "measures.measure",
    "model": "encoders.user_model.register",
    "score": "scoring.score",
    "search": "api.search",
    "study": "studies.study",
    "system": "systems.own.register",
}


def __getattr__(name: str) -> object:
    """Import a public name or a module when it is first used: `import harness` stays fast."""
    from importlib import import_module
    from importlib.util import find_spec

    if name not in __all__:
        if name.startswith("_") or find_spec(f"harness.{name}") is None:
            raise AttributeError(f"module 'harness' has no attribute {name!r}")
        return import_module(f"harness.{name}")
    module, _, own = _HOME.get(name, f"errors.{name}").rpartition(".")
    return getattr(import_module(f"harness.{module}"), own)


def __dir__() -> list[str]:
    """List the public names, which completion shows."""
    return sorted([*__all__, "__version__"])
