"""study: experiments on systems, named by the grammar that names everything; ann, one of them."""

from __future__ import annotations

import inspect
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import terminal
from harness.cli.common import (
    Cache,
    FormatOption,
    Fresh,
    Group,
    Once,
    Plugins,
    Quiet,
    load_plugins,
    open_store,
    program,
    say,
    show_tables,
)
from harness.errors import InputError
from harness.shown import clean, escape_markdown
from harness.spec import Spec, bracket, join, parse

if TYPE_CHECKING:
    from harness.report.findings import About
    from harness.studies import Findings, Study

OUT = Path("results/studies")
PASSED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Settings of a command that hands its words on."""


class Studies(Group):
    """A command for each study that is registered, whatever options its name carries."""

    listing = ("style", "json")  # plugins serve every study

    def list_commands(self, ctx: Any) -> list[str]:
        """Name every study."""
        from harness.studies import STUDIES

        return sorted({*super().list_commands(ctx), *(one.name for one in STUDIES.entries())})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Make the command of a study."""
        return super().get_command(ctx, cmd_name) or _command(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load plugins first, given before the study's name or after: they may bring it."""
        load_plugins([*(ctx.params["plugin"] or []), *_plugins(args)])
        return super().resolve_command(ctx, args)


def _plugins(words: Sequence[str]) -> list[Path]:
    """The values of --plugin among words."""
    after = [value for word, value in pairwise(words) if word == "--plugin"]
    inside = [word.partition("=")[2] for word in words if word.startswith("--plugin=")]
    return [Path(value) for value in [*after, *inside]]


WIDTH = 76  # of the lines of a study's help
CELLS = "cells"  # in the folder of studies: evaluations of grids, so that a killed study goes on

app = typer.Typer(
    cls=Studies,
    help="Run an experiment on systems. It writes a page, a figure and its numbers; its options "
    "follow its name, as in harness study robustness,draws=5. Without a name: lists them.\n\n"
    "Example: harness study robustness --model bm25 --task limit-small",
    rich_markup_mode=None,
    subcommand_metavar="NAME[,OPTION=VALUE...] [ARGS]...",
)


@app.callback(invoke_without_command=True)
def studies(ctx: typer.Context, plugin: Plugins = None, style: FormatOption = "terminal") -> None:
    """List the studies where none is named."""
    if ctx.invoked_subcommand is not None:
        return
    load_plugins(plugin)
    from harness.frames import Column, Frame

    group: Any = ctx.command
    rows = [
        (n, group.get_command(ctx, n).get_short_help_str(200)) for n in group.list_commands(ctx)
    ]
    frame = Frame("Studies", [Column("study"), Column("what it tells")], rows, name="studies")
    show_tables([frame], style)
    say(f"What one tells, its options and an example: {program()} study NAME --help")


old = typer.Typer()
"""Commands of their own that are studies now."""


@old.command(context_settings=PASSED)
def ann(ctx: typer.Context) -> None:
    """Short for harness study ann: what an approximate index loses."""
    typer.main.get_command(app).main(
        ["ann", *ctx.args], prog_name="harness study", help_option_names=["-h", "--help"]
    )


def _command(text: str) -> Any:
    """Make the command of a study.

    Args:
        text: The study's spec as it was given.
    """
    from harness.studies import STUDIES, options

    study, name = STUDIES.create(text), STUDIES.resolve(text).name
    old = {option.name: [f"--{option.name.replace('_', '-')}"] for option in options(name)}
    for spelling, field in study.old_options.items():
        old[field].append(spelling)

    def command(**given: Any) -> None:
        said = {field: given.pop(field) for field in old}
        spec = _spec(text, {field: values for field, values in said.items() if values}, given)
        _run(spec, **given)

    usual = list(inspect.signature(_run, eval_str=True).parameters.values())[1:]
    hidden = [_hidden(field, spellings) for field, spellings in old.items()]
    vars(command)["__signature__"] = inspect.Signature([*usual, *hidden])
    command.__annotations__ = {each.name: each.annotation for each in [*usual, *hidden]}
    made = typer.Typer(rich_markup_mode=None, add_completion=False)
    made.command(text, cls=Once, help=_help(name, study), short_help=_summary(study))(command)
    return typer.main.get_command(made)


def _hidden(field: str, spellings: Sequence[str]) -> inspect.Parameter:
    """The options that a field of a study was before specs held it."""
    option = typer.Option(*dict.fromkeys(spellings), hidden=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        field, kind, default=None, annotation=Annotated[list[str] | None, option]
    )


def _spec(text: str, old: Mapping[str, Sequence[str]], given: Mapping[str, Any]) -> Spec:
    """The study that is asked for; one line says how to ask where an old name was used.

    Args:
        text: Its spec as it was given.
        old: Values of old options, by field.
        given: Options of today, by name.
    """
    from harness.studies import STUDIES, options

    asked = parse(text)
    spec = Spec(STUDIES.resolve(text).name, asked.target, asked.params)
    many = {option.name for option in options(spec.name) if option.many}
    spec = spec.with_parameters(
        (k, join(v) if k in many else bracket(v[-1])) for k, v in old.items()
    )
    if old or spec.name != asked.name:
        words = ["harness", "study", str(spec)]
        for short, usual in (("-m", "model"), ("-t", "task")):
            words += [word for value in given[usual] or () for word in (short, value)]
        say(f"say: {shlex.join(words)}")
    return spec


def _summary(study: Study) -> str:
    return (inspect.getdoc(study) or "").partition("\n")[0]


def _help(name: str, study: Study) -> str:
    """What a study tells, its options and an example."""
    from harness.studies import options

    known = options(name)
    lines = [
        textwrap.fill(
            f"{option.name}={option.default}  {option.about or ''} ({option.kind})", WIDTH,
            initial_indent="  ", subsequent_indent="      ",
            break_on_hyphens=False, break_long_words=False,
        )
        for option in known
    ]  # fmt: skip
    example = next((f",{o.name}={o.default}" for o in known if o.default), "")
    systems = " ".join(f"-m {system}" for system in study.default_systems)
    parts = [inspect.getdoc(study) or ""]
    if lines:
        parts.append("\b\nOptions after the name, with their defaults:\n" + "\n".join(lines))
    usual = f"{systems} -t {study.default_task} --seed {study.default_seed}"
    parts.append(f"\b\nWhere nothing is said: {usual}")
    spec = shlex.quote(f"{name}{example}")  # brackets mean something to a shell
    parts.append(f"\b\nExample: harness study {spec} {systems} -t {study.default_task}")
    return "\n\n".join(parts)


Systems = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="SYSTEM",
        help="System to study, as bm25 or minilm; repeat for more where it takes several.",
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", "-t", metavar="TASK", help="Task or your own data, as folder:my/data."),
]
Seed = Annotated[int | None, typer.Option(min=0, metavar="N", help="Random seed.")]
Folder = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write to, a folder a study."),
]


def _run(
    spec: Spec,
    model: Systems = None,
    task: Tasks = None,
    seed: Seed = None,
    out: Folder = OUT,
    cache: Cache = None,
    fresh: Fresh = False,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Run a study, print what it found and keep it. plugin: loaded before the study was named."""
    from harness import environment, records
    from harness.disk import slug
    from harness.report.findings import About, save
    from harness.session import Session
    from harness.studies import STUDIES, conduct

    study = STUDIES.create(spec)
    systems = _choose(model, study.default_systems, study.takes, f"{spec.name} studies one system")
    tasks = _choose(task, (study.default_task,), study.tasks, f"{spec.name} takes one task")
    which = join(tasks) if task and study.tasks == "many" else tasks[0]
    seed = study.default_seed if seed is None else seed
    with terminal.showing(f"{', '.join(systems)} on {which}", quiet) as progress:
        store = open_store(cache, fresh=fresh)
        session = Session(store, seed, progress, cells=out / CELLS)
        findings = conduct(spec, session, systems, which)
    about = About(
        str(STUDIES.resolve(spec)), tuple(systems), which, seed, records.stamp(),
        environment.current().model_dump(),
    )  # fmt: skip
    name = "-".join([str(spec), *systems, which]).translate({ord("["): None, ord("]"): None})
    written = save(out / slug(name), findings, about)
    _show(findings, about, style)
    if not quiet:
        say(f"written: {written[0].parent}: {', '.join(path.name for path in written)}")


def _choose(given: Sequence[str] | None, usual: Sequence[str], many: str, rule: str) -> list[str]:
    """What was named, each once, else what stands in for it."""
    found = list(dict.fromkeys(given or usual))
    if many == "one" and len(found) > 1:
        raise InputError(f"{rule}: expected one of {', '.join(found)}")
    return found


def _show(findings: Findings, about: About, style: str) -> None:
    """Print the headline and the tables; as JSON, the numbers as they are kept."""
    from harness.report import data
    from harness.report.findings import plain, tables

    def document() -> Any:
        if style == "json":
            return plain(findings, about)
        shown = [frame for frame in findings.frames if frame.shown]
        return data.of_frames(shown, headline=findings.headline, notes=list(findings.notes))

    if style in ("terminal", "markdown"):
        said = findings.headline
        print(f"# {escape_markdown(said)}\n" if style == "markdown" else f"{clean(said)}\n")
    show_tables(tables(findings), style, document)
