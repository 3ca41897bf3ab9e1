"""The capacity study as a page of numbers and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.frames import Table
from harness.studies.capacity import Capacity
from harness.studies.capacity.theory import TABLE_6

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTRAPOLATED = (512, 768, 1024, 3072, 4096)
# colours that colour-blind readers tell apart (Okabe and Ito 2008)
MODEL, FREE, EXACT, QUIET = "#D55E00", "#0072B2", "#009E73", "#666666"
SOURCE = "Weller et al. 2025, arXiv 2508.21038"


def page(capacity: Capacity) -> list[Table]:
    """Where the model stands, and the numbers behind it."""
    tables = [_standing(capacity), _truncated(capacity), _exact(capacity), _critical(capacity)]
    tables += _extrapolated(capacity)
    if capacity.notes:
        tables.append(Table("Notes", [""], [[note] for note in capacity.notes]))
    return tables


def _standing(capacity: Capacity) -> Table:
    dim, recall = capacity.model[-1]
    free, exact = capacity.free[-1], capacity.exact[0]
    bound = "any" if capacity.bound is None else f"{capacity.bound:,}"
    rows = [
        [capacity.encoder, f"{dim:,}", _percent(recall), f"recall at {capacity.k}"],
        [
            "free vectors",
            f"{free.dim:,}",
            _percent(free.accuracy),
            f"optimised on the judgments; margin {free.margin:.2g}",
        ],
        ["exact vectors", f"{exact.dim:,}", _percent(exact.recall), f"of {exact.precision}"],
        [
            "margin bound",
            bound,
            "",
            f"no fewer return every {capacity.k} of {capacity.documents:,} documents "
            f"with margin {capacity.gamma:g}",
        ],
        ["chance", "", _percent(capacity.chance), f"{capacity.k} of {capacity.documents:,}"],
    ]
    title = (
        f"{capacity.encoder} on {capacity.task}: {capacity.queries:,} queries, "
        f"{capacity.relevant:,} relevant documents"
    )
    return Table(title, ["vectors", "dimensions", "returned", "what"], rows, frozenset({1, 2}))


def _truncated(capacity: Capacity) -> Table:
    model = dict(capacity.model)
    free = {trial.dim: trial.accuracy for trial in capacity.free}
    rows = [
        [
            f"{dim:,}",
            _percent(model[dim]) if dim in model else "",
            _percent(free[dim]) if dim in free else "",
            _percent(capacity.chance),
        ]
        for dim in sorted({*model, *free})
    ]
    header = ["dimensions", f"{capacity.encoder}, R@{capacity.k}", "free vectors", "chance"]
    return Table("By dimensions kept", header, rows, frozenset(range(4)))


def _exact(capacity: Capacity) -> Table:
    rows = [
        [
            exact.precision,
            "cosine" if exact.unit else "inner product",
            f"{exact.dim:,}",
            _percent(exact.recall),
            "overflow" if exact.margin is None else f"{exact.margin:.2g}",
        ]
        for exact in capacity.exact
    ]
    header = ["precision", "similarity", "dimensions", "returned", "least gap"]
    return Table("Exact vectors (moment curve)", header, rows, frozenset({2, 3, 4}))


def _critical(capacity: Capacity) -> Table:
    rows = []
    for found in capacity.critical:
        at = [trial for trial in found.trials if trial.documents == found.reached]
        rows.append(
            [
                f"{found.dim:,}",
                f"{found.reached:,}",
                "–" if found.broken is None else f"{found.broken:,}",
                f"{at[-1].margin:.2g}" if at else "",
                f"{TABLE_6[found.dim]:,}" if found.dim in TABLE_6 and found.k == 2 else "",
                f"{found.seconds:.1f}",
            ]
        )
    header = ["dimensions", "all returned", "not", "margin", "Weller et al.", "seconds"]
    title = f"Documents of which free vectors return every {capacity.k}"
    return Table(title, header, rows, frozenset(range(6)))


def _extrapolated(capacity: Capacity) -> list[Table]:
    """Where the curves go; nothing where ours turns down beyond what it was fitted to."""
    published = capacity.paper_curve if capacity.k == 2 else None
    curves = {f"{SOURCE}, Table 6": published, "measured here": capacity.curve}
    known = {name: curve for name, curve in curves.items() if curve is not None}
    if not known:
        return []
    dims = sorted({*EXTRAPOLATED, capacity.model[-1][0]})
    least = max((found.reached for found in capacity.critical), default=0)
    numbers = [[curve.at(dim) for curve in known.values()] for dim in dims]
    rows = [
        [f"{dim:,}", *(f"{n:,.0f}" if n > least else "–" for n in row)]
        for dim, row in zip(dims, numbers, strict=True)
    ]
    rows.append(["r²", *(f"{curve.r2:.6f}" for curve in known.values())])
    title = "The cubic through these numbers, extrapolated"
    return [Table(title, ["dimensions", *known], rows, frozenset(range(len(known) + 1)))]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def figure(capacity: Capacity) -> Figure:
    """What model and free vectors return by dimension, above how many documents free vectors hold.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(8.5, 7.5), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(made)
    made.suptitle(_finding(capacity), x=0.02, ha="left", fontsize=14, fontweight="bold")
    recall, documents = made.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    dims = [capacity.model[-1][0], capacity.free[-1].dim, *(c.dim for c in capacity.critical)]
    recall.set_xscale("log", base=2)
    recall.set_xlim(1.7, 1.35 * max(dims))
    _draw_recall(recall, capacity)
    _draw_documents(documents, capacity)
    ticks = [2**i for i in range(1, max(dims).bit_length())]
    documents.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    documents.minorticks_off()
    documents.set_xlabel("dimensions")
    for axes in (recall, documents):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
        axes.set_axisbelow(True)
    about = (
        f"{capacity.task}, {capacity.queries:,} queries; free vectors by the protocol of {SOURCE}"
    )
    made.supxlabel(about, x=0.02, ha="left", fontsize=8, color=QUIET)
    return made


def _finding(capacity: Capacity) -> str:
    (dim, recall), free = capacity.model[-1], capacity.free[-1]
    return (
        f"{capacity.encoder} returns {100 * recall:.1f} % of what {capacity.task} asks for "
        f"with {dim:,} dimensions;\n"
        f"free vectors return {100 * free.accuracy:.{free.accuracy < 1:d}f} % with {free.dim:,}"
    )


def _draw_recall(axes: Any, capacity: Capacity) -> None:
    axes.set_title(f"relevant documents among the {capacity.k} best, %", loc="left", fontsize=10)
    axes.set_ylim(-9, 114)
    axes.set_yticks(range(0, 101, 20))
    right = axes.get_xlim()[1]
    free = [(trial.dim, 100 * trial.accuracy) for trial in capacity.free]
    axes.plot(*zip(*free, strict=True), color=FREE, marker="o", linewidth=2.5)
    (dim, share), name = free[-1], "free vectors, optimised on the judgments"
    if dim < right / 12:
        _write(axes, (1.15 * dim, share), name, color=FREE, va="center")
    else:
        _write(axes, (dim, share + 4), name, color=FREE, ha="right", va="bottom")
    model = [(dim, 100 * recall) for dim, recall in capacity.model]
    axes.plot(*zip(*model, strict=True), color=MODEL, marker="s", linewidth=2.5)
    (dim, share), name = model[-1], f"{capacity.encoder}, cut to its first dimensions"
    height = share + 4 if share < 85 else 60  # the names of the others stand at the top
    _write(axes, (dim, height), name, color=MODEL, ha="right", va="bottom")
    chance = 100 * capacity.chance
    axes.axhline(chance, color=QUIET, linestyle=":", linewidth=1.5)
    text = f"chance {chance:.2g} %"
    _write(axes, (right, chance - 2), text, color=QUIET, ha="right", va="top")
    exact = next(e for e in capacity.exact if e.precision == "float32" and not e.unit)
    axes.plot(exact.dim, 100 * exact.recall, color=EXACT, marker="D", markersize=9)
    where = (exact.dim, 100 * exact.recall + 5)
    _write(axes, where, "exact vectors, float32", color=EXACT, ha="center", va="bottom")


def _draw_documents(axes: Any, capacity: Capacity) -> None:
    whole = "pair" if capacity.k == 2 else f"{capacity.k} of them"
    title = f"documents of which free vectors return every {whole}"
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    right = axes.get_xlim()[1]
    axes.axhline(capacity.relevant, color=QUIET, linestyle=":", linewidth=1.5)
    name = f"{capacity.relevant:,} relevant in {capacity.task}"
    _write(axes, (right, 0.8 * capacity.relevant), name, color=QUIET, ha="right", va="top")
    if capacity.k == 2:
        _draw_published(axes, capacity)
    for found in capacity.critical:
        axes.plot(found.dim, found.reached, color=FREE, marker="o")
    if capacity.critical:
        last = capacity.critical[-1]
        where = (1.1 * last.dim, 0.9 * last.reached)
        _write(axes, where, "measured here", color=FREE, va="top")


def _draw_published(axes: Any, capacity: Capacity) -> None:
    """The paper's numbers and, beyond them, the cubic through them."""
    right, last, dim = axes.get_xlim()[1], max(TABLE_6), capacity.model[-1][0]
    shown = {d: n for d, n in TABLE_6.items() if d < right}
    axes.plot(list(shown), list(shown.values()), color=QUIET, linewidth=2)
    most = max(d for d in (*shown, min(TABLE_6)) if d <= min(32, right / 2))
    where, name = (most / 1.1, 1.3 * TABLE_6[most]), f"published, to {last} dimensions"
    _write(axes, where, name, color=QUIET, ha="right", va="bottom")
    if dim > last:
        beyond = [last * (dim / last) ** (i / 50) for i in range(51)]
        axes.plot(beyond, [capacity.paper_curve.at(d) for d in beyond], "--", color=QUIET)
        end = capacity.paper_curve.at(dim)
        text = f"its cubic goes on to {float(f'{end:.2g}'):,.0f}"
        _write(axes, (dim / 1.2, end), text, color=QUIET, ha="right", va="center")


def _write(axes: Any, where: tuple[float, float], text: str, **style: Any) -> None:
    """Text that lines of the grid do not cross."""
    axes.text(*where, text, bbox={"color": "white", "pad": 1}, **style)
