"""How much a model's score hangs on the prompt put before its queries.

Every model is asked with every prompt, and set beside itself with its own. Where a model's spec
takes prompts they are given there; before the queries of others (bm25, rerankers) they are text
like any other.

The best of many prompts looks better than it is on the queries that chose it. So it is also chosen
on a random half of the queries and scored on the other, again and again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.arrays import Float64
from harness.data import Retrieval
from harness.encoders import ENCODERS, CollectionEncoder, encoder_spec
from harness.encoders.prompting import PLACE
from harness.errors import InputError, reason
from harness.measures import Measure
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.registry import unknown
from harness.single import Ranked, Request
from harness.spec import Spec
from harness.store import Store
from harness.studies.subject import Interval, collection, interval, per_query
from harness.systems import rank, resolve

PROMPTS = (
    "",
    "Find documents about: ",
    "Which text answers this? ",
    "query: ",  # E5 (arXiv 2212.03533)
    "search_query: ",  # nomic-embed (arXiv 2402.01613)
    "Represent this sentence for searching relevant passages: ",  # BGE (arXiv 2309.07597)
    f"Instruct: {PLACE}\nQuery: ",  # E5-mistral (arXiv 2401.00368)
)
"""Asked where nothing else is said; the last one of tasks that have an instruction."""
SPLITS = 200  # random halves of the queries


@dataclass(frozen=True)
class Prompt:
    """Text put before queries and before documents; None for the model's own."""

    query: str | None = None
    document: str | None = None


@dataclass(frozen=True)
class Case:
    """A prompt's score, and the difference from the model's own prompt, paired by query.

    texts: what was put before queries and documents. chosen: share of half samples of the queries
    on which this prompt is the best.
    """

    prompt: Prompt
    texts: tuple[str, str]
    score: Interval
    difference: Interval
    chosen: float


@dataclass(frozen=True)
class Row:
    """One model with every prompt; the first case is its own.

    The following are over different prompts, one that is the model's own counted once. best,
    worst: their places among the cases; apart: best less worst, paired, on the queries that chose
    both. deviation: standard deviation of the scores of prompts. gain: what the prompt that is best
    on one half of the queries adds to the model's own on the other half, mean over SPLITS halves.
    robustness: mean over queries of the lowest value of any prompt (for nDCG@10 Robustness@10,
    InstructIR, arXiv 2402.14334); micro: mean over queries and prompts; oracle: mean over queries
    of the highest value.
    """

    model: str
    cases: tuple[Case, ...]
    best: int
    worst: int
    apart: Interval
    deviation: float
    gain: Interval
    robustness: Interval
    micro: Interval
    oracle: Interval


@dataclass(frozen=True)
class Prompts:
    """Models on a task with prompts. instruction: the task's, "" where it has none."""

    task: str
    measure: str
    queries: int
    documents: int
    instruction: str
    rows: tuple[Row, ...]
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Setting:
    """What every run of the study needs."""

    data: Retrieval
    measure: Measure
    request: Request
    seed: int


def read(path: Path) -> tuple[list[str], list[str] | None]:
    """Prompts of queries and, where the file has them, of documents.

    A TOML file has lists `prompts` and perhaps `document_prompts`; of another file each line is a
    prompt as it stands, an empty one no prompt. Raises InputError.
    """
    try:
        text = path.read_text("utf-8")
        toml = tomllib.loads(text) if path.suffix == ".toml" else None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: no readable file of prompts: {reason(error)}") from None
    if toml is None:
        return text.removesuffix("\n").split("\n"), None
    for name, value in toml.items():
        if name not in ("prompts", "document_prompts"):
            raise unknown(f"key of {path}", name, ("prompts", "document_prompts"))
        if not (isinstance(value, list) and value and all(isinstance(one, str) for one in value)):
            raise InputError(f"{path}: {name} = {value!r}: expected a list of texts")
    if "prompts" not in toml:
        raise InputError(f'{path} has no prompts: expected prompts = ["", "query: "]')
    return toml["prompts"], toml.get("document_prompts")


def study(
    models: Sequence[str],
    task: str,
    prompts: Sequence[str] | None = None,
    document_prompts: Sequence[str] | None = None,
    *,
    measure: str = "nDCG@10",
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Prompts:
    """Score every model with every prompt, by exact search. models, task: specs.

    prompts: before queries, PROMPTS for None; {instruction} in one stands for what the task asks
    for. document_prompts: each is tried with each prompt; None for the model's own. seed: of the
    halves and of the bootstrap.

    Raises InputError for a task of another kind or with a single judged query, a measure of groups,
    a prompt that wants an instruction that the task does not have; else what `rank` raises.
    """
    for model in models:
        resolve(model)  # a wrong name is said before any is searched with
    clock = Clock(progress)
    with clock.phase("load", "data"):
        asked, data, chosen = collection(task, measure)
    if (judged := int(data.qrels.judged.sum())) < 2:
        raise InputError(f"{task} has one judged query: a prompt is chosen on half of them")
    instructions = asked.instructions(data)
    instruction = instructions.get("query", "")
    if prompts is None:
        prompts = [text for text in PROMPTS if instruction or PLACE not in text]
    elif not instruction and any(PLACE in text for text in prompts):
        raise InputError(f"a prompt holds {PLACE}, and {task} has none: give it one in TOML")
    texts = [text.replace(PLACE, instruction) for text in prompts]
    asks = [Prompt(query, document) for document in document_prompts or (None,) for query in texts]
    request = Request(
        depth=chosen.depth,
        store=store,
        clock=clock,
        exclude_self=asked.excludes(data),
        instructions=instructions,
    )
    setting, rows, notes = _Setting(data, chosen, request, seed), [], [*data.warnings]
    for model in dict.fromkeys(models):
        row, more = _row(model, [Prompt(), *dict.fromkeys(asks)], setting)
        rows.append(row)
        notes += more
    return Prompts(
        task,
        measure,
        judged,
        len(data.corpus.ranked),
        instruction,
        tuple(rows),
        seed,
        tuple(dict.fromkeys(notes)),
    )


def _row(model: str, prompts: Sequence[Prompt], setting: _Setting) -> tuple[Row, list[str]]:
    """A model with every prompt, the first its own; and what was warned of."""
    spec, own = _own(model, setting.request)
    texts = [
        (own[0] if p.query is None else p.query, own[1] if p.document is None else p.document)
        for p in prompts
    ]
    values: dict[tuple[str, str], Float64] = {}
    notes: list[str] = []
    for done, both in enumerate(texts):
        setting.request.clock.progress(f"prompts of {model}", done, len(texts), "prompts")
        if both not in values:
            ranked = _ranked(model, spec, both, setting)
            values[both] = per_query(ranked.run, setting.data, setting.measure)
            notes += ranked.warnings
    matrix, seed = np.stack(list(values.values())), setting.seed
    means, plain = matrix.mean(axis=1), values[own]
    gain, share = _chosen_elsewhere(matrix - plain, seed)
    chosen = dict(zip(values, share.tolist(), strict=True))
    cases = tuple(
        Case(
            prompt,
            both,
            interval(values[both], seed),
            interval(values[both] - plain, seed),
            chosen[both],
        )
        for prompt, both in zip(prompts, texts, strict=True)
    )
    best, worst = int(means.argmax()), int(means.argmin())
    known = list(values)
    row = Row(
        model=model,
        cases=cases,
        best=texts.index(known[best]),
        worst=texts.index(known[worst]),
        apart=interval(matrix[best] - matrix[worst], seed),
        deviation=float(means.std(ddof=1)) if len(means) > 1 else 0.0,
        gain=interval(gain, seed),
        robustness=interval(matrix.min(axis=0), seed),
        micro=interval(matrix.mean(axis=0), seed),
        oracle=interval(matrix.max(axis=0), seed),
    )
    return row, notes


def _own(model: str, request: Request) -> tuple[Spec | None, tuple[str, str]]:
    """The full spec of a model that takes prompts, None for others; and what it puts itself before
    queries and documents.
    """
    spec = encoder_spec(model)
    if spec.name not in ENCODERS:
        return None, ("", "")
    full = ENCODERS.resolve(spec)
    [entry] = [entry for entry in ENCODERS.entries() if entry.name == full.name]
    if not {"query_prompt", "document_prompt"} <= entry.parameters.keys():
        return None, ("", "")
    encoder = ENCODERS.create(full).with_instructions(request.instructions)
    if isinstance(encoder, CollectionEncoder):  # it reads no single text
        return None, ("", "")
    return full, (encoder.prompt("query"), encoder.prompt("document"))


def _ranked(model: str, spec: Spec | None, texts: tuple[str, str], setting: _Setting) -> Ranked:
    """A model's ranking with texts before queries and documents. spec: takes them as prompts."""
    query, document = texts
    if spec is not None:
        named = spec.merged([("query_prompt", query), ("document_prompt", document)])
        return rank(str(named), setting.data, setting.request)
    queries, corpus = setting.data.queries, setting.data.corpus
    prompted = replace(
        setting.data,
        queries=replace(queries, texts=[query + text for text in queries.texts]),
        corpus=replace(corpus, texts=[document + text for text in corpus.texts]),
    )
    return rank(model, prompted, setting.request)


def _chosen_elsewhere(gains: Float64, seed: int) -> tuple[Float64, Float64]:
    """What each query gains [q] by the prompt that is best on the half of the queries that it is
    not in, mean over SPLITS halves; and how often each prompt is best [m]. gains: [m, q].
    """
    (m, q), random = gains.shape, np.random.default_rng(seed)
    total, times = np.zeros(q), np.zeros(m)
    for _ in range(SPLITS):
        order = random.permutation(q)
        first, second = order[: q // 2], order[q // 2 :]
        for here, there in ((first, second), (second, first)):
            best = gains[:, here].mean(axis=1).argmax()
            total[there] += gains[best, there]
            times[best] += 1
    return total / SPLITS, times / (2 * SPLITS)
