"""Where a score is lost, as a table and a figure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.studies.funnel import NEAR, Funnel, Stage
from harness.studies.subject import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# colours that colour-blind readers tell apart (Okabe and Ito 2008)
KEPT, LOST, MISUSED, GREY = "#0072B2", "#D55E00", "#7F7F7F", "#666666"
EVEN = 1e-5  # lengths that differ by no more are equal but for rounding
LEAST = 0.1  # of the axis: the width of a bar that holds text


def page(funnel: Funnel) -> list[Table]:
    """One table, a row a stage; and what was warned of."""
    rows = [
        [
            stage.name,
            number(stage.score.mean),
            f"[{number(stage.score.low)}, {number(stage.score.high)}]",
            _loss(stage),
            "–" if not funnel.best.score.mean else f"{_share(stage, funnel):.1%}",
            "" if stage.kept is None else f"{stage.kept:.1%}",
            what,
        ]
        for stage, what in zip(funnel.stages, _said(funnel), strict=True)
    ]
    header = ["stage", funnel.measure, "95 % interval", "lost, 95 % interval", "of the best"]
    header += [f"same {NEAR} nearest", "what it means"]
    title = f"{funnel.encoder} on {funnel.task}: where {funnel.measure} is lost"
    tables = [Table(title, header, rows, frozenset(range(1, 6)))]
    if funnel.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in funnel.warnings]))
    return tables


def _said(funnel: Funnel) -> list[str]:
    """What each stage's loss is, in order."""
    low, high = funnel.lengths
    even = high - low <= EVEN * high
    lengths = f"vectors have lengths {low:.3g} to {high:.3g}"
    if even:
        lengths = "all vectors are equally long, so every metric ranks alike"
    return [
        f"{funnel.queries:,} queries, documents in the order of their judgments",
        "what the vectors lose",
        *[f"what a wrong metric loses; {lengths}"] * len(funnel.misused),
        f"what the index loses; in full: {funnel.full}",
    ]


def _loss(stage: Stage) -> str:
    if stage.loss is None:
        return ""
    low, high = number(stage.loss.low), number(stage.loss.high)
    return f"{number(stage.loss.mean)} [{low}, {high}]"


def _share(stage: Stage, funnel: Funnel) -> float:
    best = funnel.best.score.mean
    return stage.score.mean / best if best else 0.0


def figure(funnel: Funnel) -> Figure:
    """A bar a stage: what is left of the score, and what was lost since the stage beside it."""
    from matplotlib.figure import Figure

    stages = funnel.stages
    made = Figure(figsize=(9, 1.4 + 0.62 * len(stages)), layout="constrained")
    axes = made.subplots()
    title = textwrap.fill(_finding(funnel), 76)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes.set_xlim(0, 1.18 * max(stage.score.high for stage in stages) or 1)
    for place, stage in enumerate(stages):
        _bar(axes, -place, stage, MISUSED if stage in funnel.misused else KEPT)
    axes.set_yticks([-place for place in range(len(stages))], [_wrapped(s.name) for s in stages])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{funnel.measure}, with 95 % intervals over {funnel.queries:,} queries")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#E5E5E5")
    axes.set_axisbelow(True)
    return made


def _wrapped(name: str) -> str:
    return textwrap.fill(name, 26, break_long_words=True)


def _bar(axes: Axes, y: float, stage: Stage, colour: str) -> None:
    """A score, the loss behind it, and both as text."""
    score, lost, right = stage.score, stage.loss, axes.get_xlim()[1]
    axes.barh(y, score.mean, height=0.6, color=colour)
    if lost is not None and lost.mean > 0:
        bar = axes.barh(y, lost.mean, left=score.mean, height=0.6, color="white")
        bar[0].set(edgecolor=LOST, hatch="////")
    error = [[score.mean - score.low], [score.high - score.mean]]
    axes.errorbar(score.mean, y, xerr=error, color="black", lw=1.2, capsize=3)
    end = max(score.high, score.mean + (lost.mean if lost is not None else 0))
    text, said = f"{score.mean:.4f}", "" if lost is None else _lost(lost)
    if score.mean > LEAST * right:
        axes.text(0.01 * right, y, text, va="center", color="white", fontweight="bold")
    else:
        said = f"{text}   {said}"
    axes.text(end + 0.01 * right, y, said, va="center", color=LOST if lost and lost.mean else GREY)


def _lost(loss: Interval) -> str:
    """A loss as a change of the score."""
    if not loss.mean:
        return "same"
    change = f"{-loss.mean:+.4f}".replace("-", "−")
    return change if loss.significant else f"{change}, within noise"


def _finding(funnel: Funnel) -> str:
    """How much vectors and index lose."""
    embedding, index = funnel.exact.loss, funnel.approximate.loss
    assert embedding is not None
    assert index is not None
    name, spec = f"{funnel.encoder} on {funnel.task}", funnel.approximate.name
    first = f"{name}: the vectors lose {embedding.mean:.3f} {funnel.measure}"
    if not index.significant:
        return f"{first}, {spec} nothing that {funnel.queries:,} queries show"
    return f"{first}, {spec} {'another' if index.mean > 0 else 'gains'} {abs(index.mean):.4f}"
