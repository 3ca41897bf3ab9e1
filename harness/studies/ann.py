"""Approximate search against exact search on the same vectors: what users lose, what they gain.

Vectors are dense, sparse or several a text; a setting serves the models whose vectors it takes.
Every model x task x setting is set beside exact search: neighbours missed, the task's measure and
its change, queries that lost relevant documents, time and memory; and whether the models would be
ranked differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from harness.analysis import orders
from harness.analysis.settings import families, read_sweep, sweep
from harness.analysis.timing import threads
from harness.arrays import Float64
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Chart, Lines, Reference
from harness.indexes import INDEXES
from harness.session import Session
from harness.studies import STUDIES, Findings, Study
from harness.studies.setting import (
    ExactReference,
    TriedSetting,
    attempt,
    cheapest,
    fastest,
    fitting_indexes,
    judge_margin,
    note_slower,
    search_exactly,
    tell_kept,
)
from harness.wording import count

SWEEP = "[ef_search=8+16+32+64+128+256]"  # of hnsw, where nothing is asked for
PAIR = [Column("task"), Column("model")]
WHO = [*PAIR, Column("index")]
P50 = Column("p50", "ms", "low", "median latency")
DISTANCES = Column("distances", "number", "low", "computed for a query", digits=0)
ANSWERS = [
    *PAIR,
    Column("to keep"),
    Column("cheapest", about="of the settings whose whole 95% interval keeps it; empty for none"),
    Column("undecided", "count", about="settings of which the queries cannot tell"),
    Column("by", about="what is cheap: distances where every setting tells them, else p50"),
    DISTANCES,
    P50,
]
FASTEST = [
    *PAIR,
    Column("to keep", about="of the nearest, by id alone"),
    Column("memory, x exact", "number", about="at most, times exact search's; – for any"),
    Column("fastest", about="of the settings whose whole 95% interval keeps it; empty for none"),
    P50,
]
SETTINGS = [
    *WHO,
    Column("measure"),
    Column("score", "estimate", "high"),
    Column("change", "change", "high", "from exact search, paired by query"),
    Column("within", about="kept: the margin holds for the whole interval of score and losses"),
    Column("lost", "count", "low", "queries with relevant documents that only exact search finds"),
    Column("left with none", "count", "low", "the queries among them without any other"),
    Column("build", "seconds", "low", "wall time until it could be searched", digits=2),
    Column("reused", "flag", about="read from where it was kept, not built"),
    Column("memory", "bytes", "low", "to serve it"),
    Column("x exact", "number", "low", "times the memory of exact search", digits=2),
]
SEARCHES = [
    *WHO,
    Column("k", "count", about="results asked for"),
    Column("recall", "estimate", "high", "of the k nearest, ties counted"),
    Column("accuracy", "score", "high", "the same by id alone: accuracy@k of Seismic's papers"),
    DISTANCES,
    P50,
    Column("p95", "ms", "low"),
    Column("p99", "ms", "low"),
    Column("timed", "count", about="queries whose latency was taken"),
    Column("queries/s", "rate", "high", "of wall time"),
    Column("queries/CPU s", "rate", "high", "of time on all threads"),
]
CASE = [Column("task"), Column("index")]
RANKINGS = [
    *CASE,
    Column("by exact search"),
    Column("by index"),
    Column("moved", "count", "low", "most places that a model moved"),
    Column("Kendall tau", "number", "high", "tau-b of the two orders", digits=2),
    Column("swaps", "count", "low"),
]
SWAPS = [
    *CASE,
    Column("first", about="by exact search"),
    Column("second"),
    Column("exact", "change", about="score of the first less the second's, paired by query"),
    Column("approximate", "change", about="the same by the index"),
    Column("verdict"),
]
PLACES = [*CASE, Column("model"), Column("exact", "count"), Column("approximate", "count")]
LOST = [*WHO, Column("query"), Column("document"), Column("left with none", "flag")]
FRAMES = {
    "answers": ("The cheapest setting that loses little", ANSWERS),
    "fastest": ("The fastest setting, median latency, by accuracy and memory", FASTEST),
    "settings": ("What is found, beside exact search on the same vectors", SETTINGS),
    "searches": ("Searches: latency one query at a time on 1 thread, {at}", SEARCHES),
    "rankings": ("Does the ranking of models change?", RANKINGS),
    "swaps": ("Models that change places", SWAPS),
    "places": ("Places of models", PLACES),
    "lost": ("Relevant documents that only exact search finds", LOST),
}
CURVES = [
    *WHO,
    Column("setting"),
    Column("value"),
    Column("measure"),
    Column("queries", "rate", "high"),
    Column("recall", "number", "high", "of the nearest neighbours"),
    Column("median latency", "ms", "low"),
    Column("score", "number", "high", "mean of the measure"),
]
HIDDEN = ("places", "lost")
SEVERAL = ("rankings", "swaps", "places")  # of models, where there are
Rows = dict[str, list[tuple[Any, ...]]]


@STUDIES.register("ann")
@dataclass(frozen=True)
class Ann(Study):
    """What users lose when a model is served from an approximate index.

    Each setting is set beside exact search of the same vectors: recall of neighbours, change of the
    task's measure, queries that lost their relevant document, latency and bytes.
    """

    tasks: ClassVar = "many"
    default_task: ClassVar[str] = "limit-1k"
    old_options: ClassVar[Mapping[str, str]] = {"--index": "indexes", "-i": "indexes"}

    indexes: Annotated[
        tuple[str, ...], "indexes to try, as [hnsw,M=8]+int8; empty: hnsw, swept"
    ] = ()
    sweep: Annotated[str, f"values of one parameter, as [ef_search=16+64]; of hnsw: {SWEEP}"] = ""
    k: Annotated[int, "nearest documents by exact search, of which recall is counted"] = 10
    recall: Annotated[
        float, "recall that is enough, from 0 to 1: the cheapest setting that keeps it is named"
    ] = 0.95
    margin: Annotated[float, "share of the exact score that may be lost: likewise"] = 0.005

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"k={self.k}: expected at least 1 neighbour")
        for name, share in (("recall", self.recall), ("margin", self.margin)):
            if not 0 <= share <= 1:
                raise InputError(f"{name}={share:g}: expected a share from 0 to 1")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Compare settings with exact search, each for the models whose vectors it takes.

        Raises:
            InputError: for a setting that takes the vectors of no model, a model whose vectors no
                setting takes, a main measure that is not one of rankings of single queries.
        """
        models, names, indexes = list(dict.fromkeys(systems)), session.expand(task), self._indexes()
        if not models or not names or len(indexes) < 2:
            raise InputError("expected a model, a task and an index other than exact, at least")
        tasks = [session.collection(name) for name in names]
        fitting = fitting_indexes(session, models, tasks[0], indexes)
        rows: Rows = {name: [] for name in (*FRAMES, "curves")}
        total, done, notes = len(tasks) * sum(map(len, fitting.values())), 0, list[str]()
        for one in tasks:
            values: dict[str, dict[str, Float64]] = {spec: {} for spec in indexes}
            for model in models:
                exact, tried = search_exactly(session, model, one, self.k), list[TriedSetting]()
                for spec in fitting[model]:
                    session.progress("compare", done, total, "settings")
                    tried.append(attempt(session, exact, spec))
                    values[spec][model], done = tried[-1].values, done + 1
                self._add(session, rows, (one.name, model), exact, tried)
                said = (*exact.vectors.notes, *note_slower(tried))
                notes += [f"{one.name}, {model}: {note}" for note in said]
                notes += [f"{one.name}, {model}, {t.index}: {n}" for t in tried for n in t.notes]
            _rank(session, rows, one.name, values)
        session.progress("compare", total, total, "settings")
        return self._findings(rows, notes)

    def _indexes(self) -> list[str]:
        """Settings as they are asked for, exact search first, each once."""
        asked, values = self.indexes or ("hnsw",), self.sweep or ("" if self.indexes else SWEEP)
        if values:
            asked = tuple(setting for one in asked for setting in sweep(one, *read_sweep(values)))
        chosen: dict[str, str] = {}
        for spec in ("exact", *asked):
            chosen.setdefault(str(INDEXES.resolve(spec)), spec)
        return list(chosen.values())

    def _add(
        self,
        session: Session,
        rows: Rows,
        pair: tuple[str, str],
        exact: ExactReference,
        tried: Sequence[TriedSetting],
    ) -> None:
        """Rows of a task and a model. tried: exact search first."""
        measure, size = str(exact.vectors.task.main), tried[0].bytes
        verdicts = [judge_margin(session, one, exact, self.margin) for one in tried]
        for one, within in zip(tried, verdicts, strict=True):
            who = (*pair, one.index)
            change = session.estimate(one.values - exact.values)
            lost = {query for query, *_ in one.lost}, {query for query, _, none in one.lost if none}
            times = None if one.bytes is None or not size else one.bytes / size
            rows["settings"].append(
                (*who, measure, session.estimate(one.values), change, within, *map(len, lost),
                 one.build_s, one.reused, one.bytes, times)
            )  # fmt: skip
            searches = {search.k: search for search in (one.near, one.asked)}
            rows["searches"] += [(*who, *search.numbers) for search in searches.values()]
            rows["lost"] += [(*who, *each) for each in one.lost]
            drawn = one.near.rate.per_second, one.near.recall.mean, one.asked.p50
            rows["curves"].append((*who, measure, *drawn, one.values.mean()))
        answers = cheapest(
            tried, verdicts, measure, near=self.k, recall=self.recall, margin=self.margin
        )
        rows["answers"] += [(*pair, *row) for row in answers]
        rows["fastest"] += [(*pair, *row) for row in fastest(tried, self.k)]

    def _findings(self, rows: Rows, notes: Sequence[str]) -> Findings:
        at = f"batches on {count(threads(), 'thread')}"
        found = {
            n: Frame(title.format(at=at), columns, rows[n], name=n, shown=n not in HIDDEN)
            for n, (title, columns) in FRAMES.items()
        }
        drawn = curves(rows["curves"])
        said = headline(found["answers"], found["rankings"], self.margin, notes)
        frames = [frame for name, frame in found.items() if len(frame) or name not in SEVERAL]
        return Findings(said, [*frames, drawn], charts(drawn, self.recall), notes)


def _rank(
    session: Session, rows: Rows, task: str, values: Mapping[str, Mapping[str, Float64]]
) -> None:
    """Rows of how models rank on a task. values: [q] by index, then model."""
    for index, other in values.items():
        if index == "exact" or len(other) < 2:
            continue
        who, exact = (task, index), {model: values["exact"][model] for model in other}
        found = orders.compare(exact, other)
        both = orders.write_order(found.first), orders.write_order(found.second)
        rows["rankings"].append((*who, *both, found.moved, found.tau, len(found.swaps)))
        rows["places"] += [(*who, m, found.first[m], found.second[m]) for m in other]
        for one, two in found.swaps:
            before, after = (session.estimate(of[one] - of[two]) for of in (exact, other))
            rows["swaps"].append((*who, one, two, before, after, orders.verdict(before, after)))


def curves(rows: Sequence[tuple[Any, ...]]) -> Frame:
    """What is drawn of each setting, family after family of those that differ in one parameter.

    rows: of CURVES, their family and value left out.
    """
    settings = {str(INDEXES.resolve(row[2])): row[2] for row in rows}
    of = {settings[full]: found for full, found in families(settings).items()}
    ordered = sorted(rows, key=lambda row: list(of).index(row[2]))
    named = [(*row[:3], of[row[2]][0], of[row[2]][1] or row[2], *row[3:]) for row in ordered]
    return Frame("Settings as they are drawn", CURVES, named, name="curves", shown=False)


def charts(curves: Frame, recall: float) -> list[Chart]:
    """Recall by speed, and the task's measure by latency; two panels a task.

    A colour a model and a dash a family of settings; of one model, a colour a family.
    """
    made, several = list[Chart](), len(curves.values("model")) > 1
    by = ("model", "setting") if several else ("setting", "")
    for task in curves.values("task"):
        shown = curves.where("task", task)
        exact = shown.where("index", "exact")
        same = () if several else (Reference(exact.numbers("score")[0], "exact search", "y"),)
        more: dict[str, Any] = {"by": by[0], "dash": by[1], "log": "x", "label": "value"}
        made += [
            Lines(shown, "queries", "recall", title=f"{task}: recall of neighbours, in batches",
                  references=(Reference(recall, f"{recall:g}", "y"),), **more),
            Lines(shown, "median latency", "score", title=f"{task}: {shown['measure'][0]}",
                  references=same, **more),
        ]  # fmt: skip
    return made


def headline(answers: Frame, rankings: Frame, margin: float, notes: Sequence[str]) -> str:
    """What the cheapest setting is, for one model and task; of more, how many have one."""
    found = answers.records()
    if len(found) == 2:
        return f"{found[0]['model']} on {found[0]['task']}: {tell_kept(answers, notes)}"
    held = [sum(a["cheapest"] is not None for a in kind) for kind in (found[::2], found[1::2])]
    whole = len(found) // 2
    changed, cases = sum(swaps > 0 for swaps in rankings.numbers("swaps")), len(rankings)
    moved = f"; models change places in {changed} of {count(cases, 'case')}" if cases else ""
    return (
        f"A setting keeps {found[0]['to keep']} for {held[0]} of {whole} models and tasks, the "
        f"task's measure within {margin:.1%} for {held[1]} of {whole}{moved}"
    )
