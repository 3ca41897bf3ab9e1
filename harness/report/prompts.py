"""Scores by prompt as a page of numbers and a figure."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.studies.prompts import SPLITS, Case, Prompts, Row
from harness.studies.subject import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
WIDTH = 60  # characters of a prompt that are shown


def page(prompts: Prompts) -> list[Table]:
    """Each model with each prompt, and what the choice of a prompt is worth."""
    tables = [_cases(prompts), _choice(prompts), _queries(prompts)]
    if prompts.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in prompts.warnings]))
    return tables


def _cases(prompts: Prompts) -> Table:
    rows = [
        [
            row.model,
            name(case),
            number(case.score.mean),
            _bounds(case.score),
            "" if case is row.cases[0] else f"{case.difference.mean:+.4f}",
            "" if case is row.cases[0] else _bounds(case.difference),
            f"{case.chosen:.0%}",
        ]
        for row in prompts.rows
        for case in row.cases
    ]
    title = f"{prompts.measure} on {prompts.task} by prompt, {prompts.queries:,} queries"
    header = ["model", "prompt", prompts.measure, "95 % interval", "beside its own"]
    header += ["95 % interval", "best on a half"]
    return Table(title, header, rows, frozenset(range(2, 7)))


def _choice(prompts: Prompts) -> Table:
    """What choosing is worth: on the queries that choose, and on others."""
    rows = [
        [
            row.model,
            name(row.cases[row.best]),
            name(row.cases[row.worst]),
            _value(row.apart),
            f"{row.deviation:.4f}",
            _value(row.cases[row.best].difference),
            _value(row.gain),
        ]
        for row in prompts.rows
    ]
    title = (
        "Choosing a prompt: the best less the model's own is too high on the queries that chose "
        f"it; held out is the best on one half scored on the other, mean of {SPLITS} draws"
    )
    header = ["model", "best", "worst", "best less worst", "deviation of prompts"]
    header += ["best less its own, same queries", "held out"]
    return Table(title, header, rows, frozenset(range(3, 7)))


def _queries(prompts: Prompts) -> Table:
    rows = [
        [row.model, *map(_value, (row.robustness, row.micro, row.oracle))] for row in prompts.rows
    ]
    lowest = "Robustness@10" if prompts.measure == "nDCG@10" else "lowest prompt"
    header = ["model", lowest, "mean prompt", "highest prompt"]
    title = f"{prompts.measure} if every query met its lowest, its mean or its highest prompt"
    return Table(title, header, rows, frozenset({1, 2, 3}))


def _value(interval: Interval) -> str:
    return f"{number(interval.mean)} {_bounds(interval)}"


def _bounds(interval: Interval) -> str:
    return f"[{number(interval.low)}, {number(interval.high)}]"


def name(case: Case) -> str:
    """A prompt as it is shown: what stands before queries, then before documents if that is set."""
    prompt = case.prompt
    said = [_quoted(text) for text in (prompt.query, prompt.document) if text is not None]
    if not said:
        return "its own: " + ", ".join(_quoted(text) for text in dict.fromkeys(case.texts))
    return ", documents ".join(said)


def _quoted(text: str) -> str:
    """A text in quotes, with its spaces and line ends to be seen."""
    short = text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
    return json.dumps(short, ensure_ascii=False) if text else "none"


def figure(prompts: Prompts) -> Figure:
    """A line of the figure is a prompt, a colour a model; the interval is that of its score.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    lines = len(prompts.rows[0].cases)
    made = Figure(figsize=(9, 2.2 + 0.45 * lines), layout="constrained")
    axes = made.subplots()
    title = textwrap.fill(_finding(prompts, prompts.rows[0]), 76)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    step = 0.6 / len(prompts.rows)
    for at, row in enumerate(prompts.rows):
        places = [-line + 0.3 - step * (at + 0.5) for line in range(lines)]
        means = [case.score.mean for case in row.cases]
        error = [
            [case.score.mean - case.score.low for case in row.cases],
            [case.score.high - case.score.mean for case in row.cases],
        ]
        colour = COLOURS[at % len(COLOURS)]
        axes.axvline(means[0], color=colour, ls=":", lw=1)
        axes.errorbar(means, places, xerr=error, fmt="o", color=colour, ms=5, label=row.model)
    shown = ["its own", *(name(case) for case in prompts.rows[0].cases[1:])]
    axes.set_yticks([-line for line in range(lines)], [textwrap.fill(one, 34) for one in shown])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{prompts.measure}, 95 % interval over {prompts.queries:,} queries")
    made.legend(loc="outside lower center", ncols=3, frameon=False)
    return made


def _finding(prompts: Prompts, row: Row) -> str:
    """How far prompts move the first model, and what choosing one adds."""
    low, high = row.cases[row.worst].score.mean, row.cases[row.best].score.mean
    adds = f"{row.gain.mean:+.4f}" if row.gain.significant else "nothing that shows"
    return (
        f"{row.model} on {prompts.task}: {prompts.measure} {low:.3f} to {high:.3f} by prompt; on "
        f"other queries than chose it the best adds {adds}"
    ).replace("-0.", "−0.")
