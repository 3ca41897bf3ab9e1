"""The tasks of the mteb package: texts, judgments and metadata. Its evaluator is never used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from harness import optional
from harness.data import Data, Origin
from harness.errors import InputError
from harness.measures.asked import Measure
from harness.registry import unknown
from harness.sources import SOURCES
from harness.sources.mteb_data import MEASURED, READERS, Subset, load, quiet


@SOURCES.register("mteb")
def mteb(target: str, *, subset: str | None = None, split: str | None = None) -> Data:
    """A task of the mteb package by its name: mteb:SciFact. The data comes from the hub.

    subset: of a task with several languages or domains; measured as mteb measures it where it is
    asked for nothing else. split: in place of the task's own. A plugin's own class of an mteb task
    is found by its name, too.

    Raises InputError for an unknown name, subset or split, data that cannot be fetched, and types
    of task that the harness does not measure.
    """
    kind = _class(target)
    read, measures = _reader(kind)
    with quiet():
        task = kind()
    chosen = _one_of(f"subset of {target}", subset, list(task.hf_subsets), "default")
    asked = split or _one_of(f"split of {target}", None, list(task.eval_splits), "test")
    data = read(load(task, chosen, asked))
    main = _measure(task.metadata.main_score)
    known = main in measures or "@" in main or main == "p-MRR"
    order = (main, *measures) if known else measures
    language = _name_language(task.metadata, chosen)
    origin = replace(_origin(task), measures=tuple(dict.fromkeys(order)), language=language)
    return replace(data, origin=origin, warnings=tuple(_departures(task, main, known=known)))


def _class(name: str) -> Any:
    """The class of the task of that name. Raises InputError with the nearest names."""
    import difflib

    with quiet():
        optional.load("mteb", "mteb")
        from mteb.abstasks import AbsTask
    kinds = {
        kind.metadata.name: kind for kind in _find_subclasses(AbsTask) if "metadata" in vars(kind)
    }
    if name in kinds:
        return kinds[name]
    folded = {known.lower(): known for known in kinds}
    near = difflib.get_close_matches(name.lower(), folded, 8, 0.5)
    if not near:
        raise InputError(f"unknown mteb task {name!r}: mteb.get_tasks() lists the names")
    raise unknown("mteb task", name, [folded[one] for one in near])


def _find_subclasses(kind: Any) -> Iterator[Any]:
    """All subclasses of a class."""
    for below in kind.__subclasses__():
        yield below
        yield from _find_subclasses(below)


def _one_of(noun: str, asked: str | None, choices: list[str], usual: str) -> str:
    """What was asked for, the usual one, or the only one. Raises InputError with the choices."""
    if asked is not None and asked not in choices:
        raise unknown(noun, asked, choices)
    if asked is None and usual not in choices and len(choices) > 1:
        parameter, _, _ = noun.partition(" ")
        raise InputError(f"choose a {noun} with {parameter}=NAME: {', '.join(choices)}")
    return asked or (usual if usual in choices else choices[0])


def _origin(task: Any) -> Origin:
    """What the metadata tell: the license, the prompt, whether a query may find itself.

    A prompt that is one text is for queries, and for texts that are compared with each other.
    """
    about = task.metadata
    prompt = about.prompt or getattr(task, "abstask_prompt", "")
    prompts = {"query": prompt, "text": prompt} if isinstance(prompt, str) else dict(prompt)
    return Origin(
        license="" if about.license in (None, "not specified") else str(about.license),
        reference=str(about.reference or ""),
        exclude_self=bool(getattr(task, "ignore_identical_ids", False)),
        instructions=prompts,
        name=about.name,
        type=about.type,
    )


def _name_language(about: Any, subset: str) -> str:
    """The language of a subset, as its code with a script; "mul" where there are several."""
    found = set(about.hf_subsets_to_langscripts.get(subset, ()))
    return found.pop() if len(found) == 1 else "mul" if found else ""


def _measure(main: str) -> str:
    """A main score of mteb's as a measure of ours: ndcg_at_10 -> nDCG@10."""
    try:
        return str(Measure.parse(main))
    except InputError:
        return main


def _departures(task: Any, main: str, *, known: bool) -> Iterator[str]:
    """Where the scores of a task are not what mteb would report, a sentence each."""
    if not known:
        yield f"mteb's main score of this task, {main}, is not measured"
    if getattr(task, "evaluator", type).__name__.startswith("Deprecated"):
        yield "mteb's own score of this task averages p-values, too: not comparable"
    if getattr(task, "input1_prompt_type", None) is not None:
        yield "mteb encodes these pairs as queries and documents: here both sides are texts"


def _reader(kind: Any) -> tuple[Callable[[Subset], Data], tuple[str, ...]]:
    """How the data of a class of task are read and measured; refuses classes not measured here."""
    from mteb.abstasks.aggregated_task import AbsTaskAggregate

    about = kind.metadata
    if issubclass(kind, AbsTaskAggregate):
        parts = ", ".join(f"mteb:{part.metadata.name}" for part in about.tasks)
        raise InputError(f"mteb:{about.name} is the mean of other tasks: name one of {parts}")
    base = next(base for base in kind.__mro__ if base.__module__.startswith("mteb.abstasks"))
    if base.__name__ not in READERS or set(about.modalities) != {"text"}:
        raise InputError(
            f"mteb:{about.name} is a task of type {about.type} ({', '.join(about.modalities)}): "
            f"the harness measures {MEASURED}"
        )
    return READERS[base.__name__]
