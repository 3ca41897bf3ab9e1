"""The studies of vectors and indexes: a page of numbers and a figure each."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import terminal
from harness.cli.common import (
    Cache,
    FormatOption,
    Plugins,
    Quiet,
    check_format,
    load_plugins,
    open_store,
    say,
    show_tables,
)
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.frames import Table

STUDIES = Path("results/studies")
SWEEP = "ef_search=8,16,32,64,128,256"

StudyModel = Annotated[str, typer.Option("--model", "-m", help="Encoder spec.")]
StudyTask = Annotated[str, typer.Option("--task", "-t", help="Task spec.")]
StudyOut = Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")]
StudyModels = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="Model spec; repeat for more.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn.")]


def geometry(
    model: StudyModel = "minilm",
    task: StudyTask = "limit-small",
    sample: Annotated[int, typer.Option(min=4, help="Vectors of a set looked at.")] = 10_000,
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """How a model's vectors lie in space, and what is left when they are cut.

    Example: harness study geometry --model minilm --task folder:my/collection
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import geometry as report
    from harness.studies import truncation
    from harness.studies.geometry import study

    store = open_store(cache)
    with terminal.showing(f"{model} on {task}", quiet) as progress:
        found = study(model, task, store=store, seed=seed, sample=sample, progress=progress)
        curves = {
            how: truncation.curve(model, task, how=how, store=store, progress=progress)
            for how in ("truncate", "pca")
        }
    plain = {how: [asdict(point) for point in points] for how, points in curves.items()}
    tables, figure = report.page(found, curves), report.figure(found, curves)
    page(out, f"geometry-{model}-{task}", found, tables, figure, style, curves=plain)


def order(
    model: StudyModel = "minilm",
    task: StudyTask = "limit-1k",
    index: Annotated[
        str, typer.Option("--index", "-i", help="Index that keeps the order of insertion.")
    ] = "hnswlib",
    m: Annotated[int, typer.Option("--M", min=2, help="Links of a node.")] = 16,
    ef_construction: Annotated[int, typer.Option(min=1, help="Candidates of an insertion.")] = 128,
    ef_search: Annotated[
        list[int] | None, typer.Option(min=1, help="Candidates of a search; repeat for more.")
    ] = None,
    separator: Annotated[
        str, typer.Option(help="Group documents by what their id holds before it.")
    ] = "",
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Why a graph misses neighbours: intrinsic dimension, and the order of insertion.

    Example: harness study order --model minilm --task folder:my/collection
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import insertion as report
    from harness.studies.insertion import RANKS, Graph, ranks, study

    graph = Graph(index, m, ef_construction, tuple(ef_search or (10, 40)))
    with terminal.showing(f"{model} on {task}", quiet) as progress:
        store = open_store(cache)
        found = study(model, task, store=store, graph=graph, separator=separator, progress=progress)
        fitting = [rank for rank in RANKS if rank <= found.dimension]
        by_rank = ranks(
            fitting, documents=min(found.documents, 10_000), width=found.dimension, graph=graph,
            progress=progress,
        )  # fmt: skip
    found = replace(found, ranks=by_rank)
    page(out, f"order-{model}-{task}", found, report.page(found), report.figure(found), style)


def funnel(
    model: StudyModel = "minilm",
    task: StudyTask = "limit-1k",
    index: Annotated[str, typer.Option("--index", "-i", help="Index spec.")] = "hnsw",
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Where a score is lost: by the vectors, by a wrong metric, by the index.

    Example: harness study funnel --model minilm --task limit-1k --index hnsw,like=chroma
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import funnel as report
    from harness.studies.funnel import study

    with terminal.showing(f"{model} on {task}", quiet) as progress:
        found = study(model, task, index, store=open_store(cache), seed=seed, progress=progress)
    name = f"funnel-{model}-{task}-{index}"
    page(out, name, found, report.page(found), report.figure(found), style)


def scale(
    model: StudyModels = None,
    task: StudyTask = "limit-1k",
    size: Annotated[
        list[int] | None, typer.Option(min=1, help="Documents of a corpus; repeat for more.")
    ] = None,
    dim: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Cut dense vectors, besides whole ones; repeat for more."),
    ] = None,
    distractors: Annotated[
        str, typer.Option(help="corpus, random (strings), or the spec of another task.")
    ] = "corpus",
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """How scores fall as the corpus grows, beside BM25, and where they cross.

    Example: harness study scale --model minilm --task folder:my/collection --dim 64 --dim 128
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import scale as report
    from harness.studies.scale import study

    models = model or ["minilm"]
    with terminal.showing(f"{', '.join(models)} on {task}", quiet) as progress:
        found = study(
            models, task, sizes=size, dims=(None, *(dim or ())), distractors=distractors,
            store=open_store(cache), seed=seed, progress=progress,
        )  # fmt: skip
    name = f"scale-{'-'.join(models)}-{task}-{distractors}"
    page(out, name, found, report.page(found), report.figure(found), style)


def filter_(
    model: StudyModel = "minilm",
    task: StudyTask = "complex-and",
    index: Annotated[str, typer.Option("--index", "-i", help="Index spec.")] = "hnsw",
    k: Annotated[int, typer.Option("--k", min=1, help="Results of a query.")] = 10,
    attribute: Annotated[
        str | None, typer.Option(help="Metadata that predicates are about, or random.")
    ] = None,
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """What filtered queries lose, by how few documents pass the filter.

    Example: harness study filter --model minilm --task complex-and --index hnsw,like=qdrant
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import filters as report
    from harness.studies.filters import study

    with terminal.showing(f"{model} on {task}", quiet) as progress:
        found = study(
            model, task, index, k=k, attribute=attribute, store=open_store(cache), seed=seed,
            progress=progress,
        )  # fmt: skip
    name = f"filter-{model}-{task}-{index}"
    page(out, name, found, report.page(found), report.figure(found), style)


def proxy(
    model: StudyModel = "colbert:minilm",
    task: StudyTask = "limit-small",
    index: Annotated[
        list[str] | None,
        typer.Option("--index", "-i", help="Spec of the index muvera; repeat for more."),
    ] = None,
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """How many candidates MaxSim needs: of MUVERA's encodings, and of single tokens.

    Example: harness study proxy -m colbert:minilm -t limit-small -i muvera,bits=4,projection_dim=8
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import proxy as report
    from harness.studies.proxy import SETTINGS, study

    with terminal.showing(f"{model} on {task}", quiet) as progress:
        found = study(
            model, task, index or SETTINGS, store=open_store(cache), seed=seed, progress=progress
        )
    page(out, f"proxy-{model}-{task}", found, report.page(found), report.figure(found), style)


def ann(
    model: StudyModels = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="Task spec or suite; repeat for more.")
    ] = None,
    index: Annotated[
        list[str] | None, typer.Option("--index", "-i", help="Index spec; repeat for more.")
    ] = None,
    sweep: Annotated[
        str, typer.Option(help="Values of a parameter for each index, as ef_search=16,64,256.")
    ] = "",
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """What users lose when a model is served from an approximate index.

    Example: harness study ann -m minilm -t folder:my/collection -i hnsw --sweep ef_search=16,64,256
    """
    check_format(style)
    load_plugins(plugin)
    from harness import catalog
    from harness.report import comparison as report
    from harness.studies import comparison

    models, tasks = model or ["minilm"], catalog.expand(task or ["limit-1k"])
    settings, sweep = index or ["hnsw"], sweep or ("" if index else SWEEP)
    if sweep:
        name, equals, values = sweep.partition("=")
        if not equals or not values:
            raise InputError(f"--sweep {sweep}: expected PARAMETER=VALUE,VALUE,...")
        swept = [comparison.sweep(one, name, values.split(",")) for one in settings]
        settings = [setting for each in swept for setting in each]
    with terminal.showing("compare", quiet) as progress:
        found = comparison.study(
            models, tasks, settings, store=open_store(cache), seed=seed, progress=progress
        )
    name = f"ann-{'-'.join(models)}-{'-'.join(tasks)}"
    page(out, name, found, report.page(found), report.figure(found), style)


def page(
    out: Path,
    name: str,
    study: Any,
    tables: list[Table],
    figure: Any,
    style: str,
    **about: Any,
) -> None:
    """Print a study's page, and keep it with its figure."""
    from harness import environment, records
    from harness.disk import slug
    from harness.report import pages

    about |= {"created": records.stamp(), "environment": environment.current().model_dump()}
    written = pages.save(out / slug(name), study, about, tables, figure)
    show_tables(tables, style)
    for path in written:
        say(f"written: {path}")
