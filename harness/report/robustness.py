"""What systems lose by changed texts, as tables and a figure."""

from __future__ import annotations

import textwrap
from itertools import cycle
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.differences import probability
from harness.report.scale import COLOURS
from harness.report.tables import number
from harness.studies.robustness import COPIES, KNOWN, NEAR, Effect, Robustness, Spread, System
from harness.studies.subject import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#666666"
ALPHA = 0.05


def page(found: Robustness) -> list[Table]:
    """Drop rates beside each other, a table a system, which system is the more robust."""
    tables = [_drops(found), *(_system(system, found) for system in found.systems)]
    if found.contrasts:
        tables.append(_contrasts(found))
    if found.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in found.warnings]))
    return tables


def _drops(found: Robustness) -> Table:
    first = found.systems[0]
    rows = [
        [
            effect.perturbation,
            *(_percent(system.effects[at].drop_rate) for system in found.systems),
            KNOWN[effect.perturbation.split(",")[0].split()[0]],
        ]
        for at, effect in enumerate(first.effects)
    ]
    title = (
        f"Drop rates of {found.measure} on {found.task}: {found.queries:,} queries, "
        f"{found.documents:,} documents, {found.draws} draws of what is random in queries"
    )
    header = ["perturbation", *(system.name for system in found.systems), "what it is"]
    return Table(title, header, rows, frozenset(range(1, len(header) - 1)))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1%}"


def _system(system: System, found: Robustness) -> Table:
    clean = [number(system.score.mean), "", *_spread(system.spread), "", ""]
    rows = [["none", "", *clean, ""], *(_effect(effect) for effect in system.effects)]
    normalised = "VNAP" if found.measure.startswith("AP@") else "of value / mean"
    header = ["perturbation", "texts changed", found.measure, "change, 95 % interval"]
    header += ["variance", normalised, "worst tenth", "queries worse", "better"]
    header += [f"same {NEAR} first"]
    low, mean, high = (number(x) for x in (system.score.low, system.score.mean, system.score.high))
    title = f"{system.name}: {found.measure} {mean} [{low}, {high}] and what is left of it"
    return Table(title, header, rows, frozenset(range(1, len(header))))


def _effect(effect: Effect) -> list[str]:
    versions = f" ±{effect.between:.4f}" if effect.versions > 1 else ""
    return [
        effect.perturbation,
        f"{effect.changed:.0%}",
        number(effect.score) + versions,
        _interval(effect.change),
        *_spread(effect.spread),
        f"{effect.worse:.0%}",
        f"{effect.better:.0%}",
        f"{effect.overlap:.0%}",
    ]


def _spread(spread: Spread) -> list[str]:
    return [number(spread.variance), number(spread.normalised, 3), number(spread.worst, 3)]


def _interval(change: Interval) -> str:
    return f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"


def _contrasts(found: Robustness) -> Table:
    rows = [
        [
            one.perturbation,
            one.one,
            one.other,
            _interval(one.difference),
            probability(one.p),
            probability(one.holm),
            (one.one if one.difference.mean > 0 else one.other) if one.holm < ALPHA else "–",
        ]
        for one in found.contrasts
    ]
    header = ["perturbation", "system", "other", "loses less by, 95 % interval", "p", "p, Holm"]
    header += ["more robust"]
    return Table("Which system loses less", header, rows, frozenset({3, 4, 5}))


def figure(found: Robustness) -> Figure:
    """The change of the measure with its interval: a row a perturbation, a colour a system.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    labels = [effect.perturbation for effect in found.systems[0].effects]
    n = len(found.systems)
    height = 1.8 + len(labels) * (0.22 + 0.16 * n)
    made = Figure(figsize=(9, height), layout="constrained")
    axes = made.subplots()
    title = textwrap.fill(_finding(found), 76)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes.axvline(0, color=GREY, lw=1)
    for place, (system, colour) in enumerate(zip(found.systems, cycle(COLOURS))):
        _draw(axes, system, colour, (place - (n - 1) / 2) * 0.7 / n)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    about = f"change of {found.measure}, 95 % interval over {found.queries:,} queries"
    axes.set_xlabel(about)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#E5E5E5")
    axes.set_axisbelow(True)
    made.legend(loc="outside lower left", ncols=min(n, 4), frameon=False)
    return made


def _draw(axes: Axes, system: System, colour: str, shift: float) -> None:
    """A point and its interval in each row; no interval where nothing changed."""
    changes = [effect.change for effect in system.effects]
    means = [change.mean for change in changes]
    below = [change.mean - change.low for change in changes]
    above = [change.high - change.mean for change in changes]
    axes.errorbar(
        means,
        [place + shift for place in range(len(means))],
        xerr=[below, above],
        fmt="o",
        color=colour,
        ms=5,
        lw=1.6,
        label=f"{system.name}, clean {system.score.mean:.3f}",
    )


def _finding(found: Robustness) -> str:
    """The perturbation that costs most, but for copies, whose cost lies in the judgments."""
    effects = [effect for system in found.systems for effect in system.effects]
    own = [effect for effect in effects if not effect.perturbation.startswith(COPIES)]
    least = min(own or effects, key=lambda effect: effect.drop_rate or 0)
    if not (least.drop_rate or 0) < 0:
        return f"{found.task}: nothing that was tried lowers {found.measure}"
    lost = [
        f"{system.name} {_percent(effect.drop_rate)}".replace("-", "−")
        for system in found.systems
        for effect in system.effects
        if effect.perturbation == least.perturbation
    ]
    return f"{found.task}: {least.perturbation} costs most of {found.measure}: {', '.join(lost)}"
