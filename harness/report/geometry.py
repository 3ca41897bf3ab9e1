"""The geometry of a model's vectors as a page of numbers and a figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InputError
from harness.frames import Table
from harness.report.tables import number
from harness.studies.geometry import SHARES, Geometry, Hubness, Space
from harness.studies.truncation import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[Point]]
"""Points by how vectors were cut, dimensions ascending."""

NAMES = {
    "truncate": "first dimensions",
    "truncate-raw": "first dimensions, not rescaled",
    "pca": "principal components",
}
GREY = "#666666"
COLOURS = {  # Okabe and Ito 2008
    "truncate": "#0072B2",
    "truncate-raw": "#56B4E9",
    "pca": "#D55E00",
    "documents": "#009E73",
    "sentences": "#009E73",
    "queries": "#CC79A7",
}


def page(geometry: Geometry, curves: Curves) -> list[Table]:
    """Every number of a study, with a value to hold it against and what it means."""
    tables = [_sets(geometry), _across(geometry)]
    if curves:
        tables.append(_cuts(curves))
    if geometry.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in geometry.warnings]))
    return tables


def _sets(geometry: Geometry) -> Table:
    """A row a measure, a column a set of vectors."""
    spaces, d = geometry.spaces, geometry.dimension
    near = " or ".join(dict.fromkeys(str(space.levina_bickel.k) for space in spaces))
    hub = " or ".join(dict.fromkeys(str(space.hubness.k) for space in spaces))
    sphere = number(geometry.uniform) if geometry.unit else ""
    most = f"≤ {d}"
    said = [
        ("vectors", "", "looked at, " + ("scaled to length 1" if geometry.unit else "as they are")),
        ("duplicates", "", "equal to another; no neighbours of any"),
        ("norm, mean", "", "as the model returns them"),
        ("norm, deviation", "0", "0: all equally long"),
        ("norm, range", "", "the least and the largest"),
        ("mean cosine", "0", "of all pairs; 1: all in one direction"),
        ("uniformity, t=2", sphere, "log mean exp(-2 distance²); reference: an even spread"),
        ("IsoScore", "1", "1: vary alike in all directions; 0: in one only"),
        ("effective rank", str(d), "directions that they vary in"),
        ("first component", f"{1 / d:.1%}", "its share of the variance"),
        *(
            (f"components for {share:.0%}", str(math.ceil(share * d)), "of the variance")
            for share in SHARES
        ),
        ("TwoNN", most, "intrinsic dimension from 2 neighbours; near-equal texts lower it"),
        ("TwoNN, line", most, "the same without the tenth with the largest ratios"),
        (f"Levina-Bickel, k={near}", most, "intrinsic dimension from k neighbours, mean"),
        ("Levina-Bickel, unbiased", most, "the same, unbiased mean"),
        ("Levina-Bickel, MacKay", most, "the same, MacKay and Ghahramani's harmonic mean"),
        (f"hubs, k={hub}", "0", "skewness of how often a vector is among another's k nearest"),
        ("hubs, largest", hub, "how often the most frequent one is"),
        ("hubs, none", "0.0%", "share that is near to no other"),
    ]
    columns = [_cells(space) for space in spaces]
    rows = [
        [name, *cells, reference, meaning]
        for (name, reference, meaning), *cells in zip(said, *columns, strict=True)
    ]
    header = ["measure", *(space.name for space in spaces), "reference", "meaning"]
    title = f"Vectors of {geometry.encoder} on {geometry.task}"
    return Table(title, header, rows, frozenset(range(1, len(spaces) + 2)))


def _cells(space: Space) -> list[str]:
    """The values of a set in the order of the page."""
    norms, several = space.norms, space.levina_bickel
    return [
        f"{space.vectors:,}",
        f"{space.duplicates:,}",
        number(norms.mean),
        number(norms.std),
        f"{number(norms.low)} to {number(norms.high)}",
        number(space.mean_cosine),
        number(space.uniformity),
        number(space.isoscore),
        number(space.effective_rank, 1),
        f"{space.variances[0]:.1%}",
        *map(str, space.components.values()),
        *(number(value, 1) for value in (space.two_nn, space.two_nn_fit)),
        *(number(v, 1) for v in (several.mean, several.unbiased, several.mackay_ghahramani)),
        *_hubs(space.hubness),
    ]


def _hubs(hubness: Hubness) -> list[str]:
    return [f"{hubness.skewness:.2f}", f"{hubness.largest:,}", f"{hubness.antihubs:.1%}"]


def _across(geometry: Geometry) -> Table:
    """What lies between two sets: positive pairs, and documents that queries find."""
    what = (
        f"squared distance of {geometry.positives:,} {geometry.positive}; reference: of all pairs"
    )
    rows = [["alignment, a=2", number(geometry.alignment), number(geometry.by_chance), what]]
    if geometry.found:
        k, (skewness, largest, never) = geometry.found.k, _hubs(geometry.found)
        rows += [
            [f"found, k={k}", skewness, "0", "skewness of how often queries find a document"],
            ["found, largest", largest, "", "how often they find the most frequent one"],
            ["found, none", never, "0.0%", "share of documents that no query finds"],
        ]
    header = ["measure", "value", "reference", "meaning"]
    return Table("Pairs", header, rows, frozenset({1, 2}))


def _cuts(curves: Curves) -> Table:
    """A row a number of dimensions: the main score and its share of the whole vectors' score."""
    main, full = _main(curves), _full(curves)
    rows = []
    for dim in sorted({point.dim for points in curves.values() for point in points}):
        row = [str(dim)]
        for points in curves.values():
            score = {point.dim: point.scores.get(main) for point in points}.get(dim)
            share = "–" if score is None or not full else f"{score / full:.0%}"
            row += [number(score), share]
        rows.append(row)
    named = [(f"{main}, {NAMES[how]}", f"share, {NAMES[how]}") for how in curves]
    header = ["kept", *(cell for names in named for cell in names)]
    return Table(f"{main} with fewer dimensions", header, rows, frozenset(range(len(header))))


def _main(curves: Curves) -> str:
    """The first measure of the most dimensions. Raises InputError where no score is defined."""
    scored = [point for points in curves.values() for point in points if point.scores]
    if not scored:
        raise InputError("no score is defined for any number of dimensions: nothing to show")
    return next(iter(max(scored, key=lambda point: point.dim).scores))


def _full(curves: Curves) -> float | None:
    """The main score of whole vectors; None where no curve has it."""
    whole = [points[-1].scores for how, points in curves.items() if how != "pca"]
    return whole[0].get(_main(curves)) if whole else None


def figure(geometry: Geometry, curves: Curves) -> Figure:
    """Score and share of variance against dimensions kept, on one logarithmic axis.

    Raises InputError where the curves hold no score.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(8, 7), layout="constrained")
    above, below = made.subplots(2, sharex=True)
    title = textwrap.fill(_finding(geometry, curves), 72)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    _draw_scores(above, curves)
    _draw_variance(below, geometry)
    dims = sorted({point.dim for points in curves.values() for point in points})
    below.set_xscale("log", base=2)
    below.set_xticks(dims, [str(dim) for dim in dims])
    below.minorticks_off()
    below.set_xlim(left=1)
    below.set_xlabel(f"dimensions kept of {geometry.dimension}")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#E5E5E5")
        axes.set_axisbelow(True)
        place = {"loc": "upper left", "bbox_to_anchor": (0, 0.9)}
        axes.legend(**place, frameon=False, labelcolor="linecolor", fontsize=11)
    return made


def _finding(geometry: Geometry, curves: Curves) -> str:
    """What is kept with a quarter of the dimensions, or the next fewer that were tried."""
    main, full, name = _main(curves), _full(curves), f"{geometry.encoder} on {geometry.task}"
    dims = {point.dim for points in curves.values() for point in points}
    dim = max((dim for dim in dims if dim <= geometry.dimension / 4), default=min(dims))
    kept = {
        how: point.scores[main] / full
        for how, points in curves.items()
        for point in points
        if full and point.dim == dim and main in point.scores
    }
    if "truncate" not in kept:
        return name
    also = f"; {dim} principal components, {kept['pca']:.0%}" if "pca" in kept else ""
    whole = geometry.dimension
    return f"{name}: {dim} of {whole} dimensions keep {kept['truncate']:.0%} of {main}{also}"


def _draw_scores(axes: Axes, curves: Curves) -> None:
    main, full = _main(curves), _full(curves)
    for how, points in curves.items():
        scored = [(point.dim, point.scores[main]) for point in points if main in point.scores]
        axes.plot(*zip(*scored, strict=True), "o-", color=COLOURS[how], lw=2, label=NAMES[how])
    if full is not None:
        axes.axhline(full, color=GREY, ls="--", lw=1, label=f"whole vectors: {full:.3f}")
    axes.margins(y=0.1)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    fitted = "; components are those of the texts searched" if "pca" in curves else ""
    axes.set_title(f"{main}{fitted}", loc="left", fontsize=11)


def _draw_variance(axes: Axes, geometry: Geometry) -> None:
    components = np.arange(1, geometry.dimension + 1)
    for space in geometry.spaces:
        if space.name in COLOURS:
            label = f"{space.name}: {space.components['90%']} components hold 90%"
            held = np.cumsum(space.variances)
            axes.plot(components, held, color=COLOURS[space.name], lw=2, label=label)
    even = components / geometry.dimension
    axes.plot(components, even, color=GREY, ls="--", lw=1, label="the same in all directions")
    axes.set_ylim(0, 1.1)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_title("share of the variance that principal components hold", loc="left", fontsize=11)
