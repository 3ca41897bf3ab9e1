"""How much a system's score hangs on the prompt put before its queries.

Every system is asked with every prompt, and set beside itself with its own. Where a model's spec
takes prompts they are given there; before the queries of others (bm25, rerankers) they are text
like any other.

The best of many prompts looks better than it is on the queries that chose it. So it is also chosen
on a random half of the queries and scored on the other, again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from harness.analysis.choice import SPLITS, choose_elsewhere
from harness.analysis.prompting import OWN, PROMPTS, Prompt, Texts, labels, name_prompt, quote, read
from harness.arrays import Float64
from harness.encoders import ENCODERS, CollectionEncoder, encoder_spec
from harness.encoders.prompting import PLACE
from harness.errors import InputError
from harness.frames import Column, Frame, follow
from harness.frames.charts import Dots, Reference
from harness.grid import Cell
from harness.session import Session
from harness.studies import STUDIES, Findings, Study
from harness.systems import split_index
from harness.tasks import Task

CHOICE = [
    Column("system"),
    Column("its prompts", about="what the system itself puts before queries, then documents"),
    Column("best"),
    Column("worst"),
    Column("best less worst", "change", about="paired by query, on the queries that chose both"),
    Column("deviation", "number", about="standard deviation over different prompts", digits=4),
    Column("best less its own", "change", "high", "on the same queries: too high"),
    Column("held out", "change", "high", f"of the best on one half on the other, {SPLITS} draws"),
]
TEXTS = [Column("system"), Column("prompt"), Column("before queries"), Column("before documents")]


@STUDIES.register("prompts")
@dataclass(frozen=True)
class Prompts(Study):
    """How much scores hang on the prompt before queries: spread, best, worst, held out.

    A plus sign stands between prompts, and an empty one is no prompt: query_prompts=+query:%20
    asks without any and with "query: ", query_prompts=[] without any. %20 is a blank, %252B a plus
    sign, %2C a comma. {instruction} stands for what the task asks for.
    """

    old_options: ClassVar[Mapping[str, str]] = {
        "--prompt": "query_prompts", "--document-prompt": "document_prompts", "--prompts": "file"
    }  # fmt: skip

    query_prompts: Annotated[
        tuple[str, ...], "texts to put before queries; empty: some that models were trained with"
    ] = ()
    document_prompts: Annotated[
        tuple[str, ...],
        "texts to put before documents, each with each query prompt; empty: the model's own",
    ] = ()
    file: Annotated[
        str, "path of a file of prompts instead: one a line, or TOML (prompts, document_prompts)"
    ] = ""
    measure: Annotated[str, "measure to compare by, with a value for each query"] = "nDCG@10"

    def __post_init__(self) -> None:
        if self.file and (self.query_prompts or self.document_prompts):
            raise InputError("file= names a file of prompts: give them there, or each as an option")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Score every system with every prompt, by exact search where it names no index.

        Raises:
            InputError: for a task of another kind or with a single judged query, a measure of
                groups, a prompt that wants an instruction that the task does not have; as `grid`.
        """
        session.check(systems)
        asked = session.collection(task, self.measure, low=True)
        if (judged := int(asked.collection.qrels.judged.sum())) < 2:
            raise InputError(f"{task} has one judged query: a prompt is chosen on half of them")
        prompts = [Prompt(), *self._prompts(asked)]
        rows: dict[str, list[tuple[Any, ...]]]
        rows = {name: [] for name in ("cases", "choice", "each", "texts")}
        notes = list[str]()
        for system in systems:
            own = own_texts(session, system, asked)
            texts = [prompt.texts(own or ("", "")) for prompt in prompts]
            cells = _cells(session, system, asked, texts, own)
            notes += [f"{system}: {note}" for cell in cells.values() for note in cell.notes]
            values = {both: cell.values for both, cell in cells.items()}
            for name, more in _rows(session, prompts, texts, values, asked.sign).items():
                rows[name] += [(system, *row) for row in more]
        measure, title = str(asked.main), f"{asked.main} on {task} by prompt, {judged:,} queries"
        columns, choice, each = (
            follow(one, asked.sign) for one in (_columns(measure), CHOICE, _queries(measure))
        )
        frames = [
            Frame(title, columns, rows["cases"], name="prompts"),
            Frame("What choosing a prompt is worth", choice, rows["choice"], name="choice"),
            Frame(
                f"{measure} if every query met its lowest, its mean or its highest prompt",
                each, rows["each"], name="queries",
            ),
            Frame("What was put before texts", TEXTS, rows["texts"], name="texts", shown=False),
        ]  # fmt: skip
        cases = frames[0]
        one = [Reference(cases.numbers(measure)[0], OWN)] if len(systems) == 1 else []
        chart = Dots(cases, measure, "prompt", "system", references=tuple(one))
        return Findings(headline(task, measure, cases, frames[1]), frames, [chart], notes)

    def _prompts(self, task: Task) -> list[Prompt]:
        """The prompts to try, each once, with the task's instruction in its place."""
        queries, documents = read(Path(self.file)) if self.file else (self.query_prompts, None)
        instruction = task.instructions.get("query", "")
        if not queries:
            queries = [text for text in PROMPTS if instruction or PLACE not in text]
        elif not instruction and any(PLACE in text for text in queries):
            raise InputError(
                f"a prompt holds {PLACE}, and {task.name} has none: give it one in TOML"
            )
        texts = [text.replace(PLACE, instruction) for text in queries]
        before = documents or self.document_prompts or (None,)
        return list(dict.fromkeys(Prompt(text, document) for document in before for text in texts))


def own_texts(session: Session, system: str, task: Task) -> Texts | None:
    """What a model that takes prompts puts itself before texts; None for what takes none."""
    named, _ = split_index(system)
    spec = encoder_spec(named)
    if spec.name not in ENCODERS:
        return None
    name = ENCODERS.resolve(spec).name
    [entry] = [entry for entry in ENCODERS.entries() if entry.name == name]
    if not {"query_prompt", "document_prompt"} <= entry.parameters.keys():
        return None
    encoder = session.encoder(named, task)
    if isinstance(encoder, CollectionEncoder):  # it reads no single text
        return None
    return encoder.prompt("query"), encoder.prompt("document")


def _cells(
    session: Session, system: str, task: Task, texts: Sequence[Texts], own: Texts | None
) -> dict[Texts, Cell]:
    """A system with each different pair of texts: another spec of it, or else another task."""
    different = list(dict.fromkeys(texts))
    if own is None:
        row = session.grid([system], [_before(task, both) for both in different]).cells[0]
        return dict(zip(different, row, strict=True))
    specs = [system if both == own else _prompt(system, both) for both in different]
    cells = session.grid(specs, [task]).cells
    return {both: row[0] for both, row in zip(different, cells, strict=True)}


def _prompt(system: str, texts: Texts) -> str:
    """The spec of a model with other prompts."""
    named, index = split_index(system)
    spec = encoder_spec(named).with_parameters(
        zip(("query_prompt", "document_prompt"), texts, strict=True)
    )
    text = str(spec).replace("@", "%40")  # which else would stand before an index
    return f"{text}@{index}" if index else text


def _before(task: Task, texts: Texts) -> Task:
    """A task with texts before its queries and its documents."""
    query, document = texts
    if not (query or document):
        return task
    data = task.collection
    queries = replace(data.queries, texts=[query + text for text in data.queries.texts])
    corpus = replace(data.corpus, texts=[document + text for text in data.corpus.texts])
    label = name_prompt(Prompt(query, document or None))
    return task.changed(label, queries=queries, corpus=corpus if document else None)


def _rows(
    session: Session, prompts: Sequence[Prompt], texts: Sequence[Texts],
    values: Mapping[Texts, Float64], sign: int,
) -> dict[str, list[tuple[Any, ...]]]:  # fmt: skip
    """One system's rows of all frames. values: [q] by what was put before texts; sign: theirs."""
    matrix, own, names = np.stack(list(values.values())), texts[0], labels(prompts)
    means, plain, estimate = matrix.mean(axis=1), values[own], session.estimate
    gain, shares = choose_elsewhere(sign * (matrix - plain), session.seed)
    chosen = dict(zip(values, shares.tolist(), strict=True))
    cases = [
        (name, estimate(values[both]), estimate(values[both] - plain), chosen[both])
        for name, both in zip(names, texts, strict=True)
    ]
    best, worst = int((sign * means).argmax()), int((sign * means).argmin())
    known = list(values)
    choice = (
        ", ".join(quote(text) for text in dict.fromkeys(own)),
        *(names[texts.index(known[at])] for at in (best, worst)),
        estimate(matrix[best] - matrix[worst]),
        means.std(ddof=1) if len(means) > 1 else 0.0,
        estimate(matrix[best] - plain),
        estimate(sign * gain),
    )
    each = tuple(estimate(fold(matrix, axis=0)) for fold in (np.min, np.mean, np.max))
    put = [(name, *both) for name, both in zip(names, texts, strict=True)]
    return {"cases": cases, "choice": [choice], "each": [each], "texts": put}


def _columns(measure: str) -> list[Column]:
    return [
        Column("system"),
        Column("prompt", about="before queries, and before documents where that is set"),
        Column(measure, "estimate", "high"),
        Column("beside its own", "change", "high", "paired by query"),
        Column("best on a half", "share", about="of random halves of the queries", digits=0),
    ]


def _queries(measure: str) -> list[Column]:
    """For nDCG@10 the first is Robustness@10 of InstructIR (arXiv 2402.14334)."""
    lowest = "Robustness@10" if measure == "nDCG@10" else "lowest prompt"
    names = (lowest, "mean prompt", "highest prompt")
    return [Column("system"), *(Column(name, "estimate", "high") for name in names)]


def headline(task: str, measure: str, cases: Frame, choice: Frame) -> str:
    """How far prompts move the first system, and what choosing one adds."""
    first = choice.records()[0]
    means = cases.where("system", first["system"]).numbers(measure)
    gain = first["held out"]
    adds = f"{gain.mean:+.4f}" if gain.significant else "nothing that shows"
    return (
        f"{first['system']} on {task}: {measure} {min(means):.3f} to {max(means):.3f} by prompt; "
        f"on other queries than chose it the best adds {adds}"
    )
