"""Studies: experiments on systems, each one file that registers a frozen dataclass.

How a study is written. Its fields are its options, each with a default and a line of help; its
docstring's first line is what `harness study` lists, the rest is told by `harness study NAME
--help`; `run` asks the session for numbers and returns Findings. Nothing else is needed: command,
help, page, figure, JSON and Parquet follow.

    @STUDIES.register("letters")
    @dataclass(frozen=True)
    class Letters(Study):
        "How scores change with the number of queries."

        default_task: ClassVar[str] = "limit-small"
        counts: Annotated[tuple[int, ...], "Queries asked, as 10+20."] = (10, 20)

        def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
            rows = [(s, n, stats.estimate(..., session.seed)) for s in systems for n in self.counts]
            columns = [Column("system"), Column("queries", "count"),
                       Column("score", "estimate", "high", "nDCG@10 of the first queries")]
            frame = Frame(f"Scores on {task}", columns, rows, name="scores")
            return Findings(f"{task}: what is found in one sentence", [frame],
                            [Lines(frame, "queries", "score", by="system")])

Then `harness study letters,counts=5+10 -m bm25 -t limit-small`. The module, the name, the command
and the folder of the page are called alike. Numbers go into frames as they are, never as text: a
column's unit decides how they are written, `about` is printed below the table; what a headline says
is written by harness.frames.formats. Few rows of many unlike values are a frame that is `turned`. A
figure is drawn from frames that are kept: rows for it alone are a frame with `shown=False`.
Formulas that others may use stand in modules beside (perturb.py, measures/thresholds.py). Options
are refused with InputError in `__post_init__` or first in `run`; none is called as an option of the
command (`COMMAND`). Old names: `STUDIES.alias("robust", "robustness", old=True)`; old options:
`old_options`. Tests call `Letters(...).run(session, systems, task)`
and read `findings["scores"].where("system", "bm25")["score"]`. A plugin does all this with
`@harness.study("letters")`.
"""

from __future__ import annotations

import html
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from harness.errors import HarnessError, InputError, reason
from harness.frames import Frame
from harness.frames.charts import Chart
from harness.parameters import read_hints, require_type
from harness.registry import Registry
from harness.session import Session
from harness.spec import Spec


@dataclass(frozen=True, init=False, repr=False)
class Findings:
    """What a study has found.

    Args:
        headline: One sentence, the title of the figure and the first line of the page.
        frames: Its numbers, by unique names, in the order of the page.
        charts: What is drawn of them, a panel each.
        notes: Sentences to know when reading: what was left out, what systems warned of.
    """

    headline: str
    frames: tuple[Frame, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]

    def __init__(
        self,
        headline: str,
        frames: Sequence[Frame],
        charts: Sequence[Chart] = (),
        notes: Sequence[str] = (),
    ) -> None:
        names = [frame.name for frame in frames]
        if len(set(names)) < len(names):
            raise ValueError(f"two frames have one name: {names}")
        object.__setattr__(self, "headline", headline)
        object.__setattr__(self, "frames", tuple(frames))
        object.__setattr__(self, "charts", tuple(charts))
        object.__setattr__(self, "notes", tuple(dict.fromkeys(notes)))

    def __getitem__(self, name: str) -> Frame:
        """The frame of a name."""
        found = {frame.name: frame for frame in self.frames}
        if name not in found:
            raise KeyError(f"no frame {name!r}: {', '.join(found)}")
        return found[name]

    def __repr__(self) -> str:
        return f"Findings({self.headline!r}, frames {', '.join(one.name for one in self.frames)})"

    def _repr_html_(self) -> str:
        shown = "".join(frame._repr_html_() for frame in self.frames if frame.shown)
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return f"<h3>{html.escape(self.headline)}</h3>{shown}<ul>{notes}</ul>"


class Study(ABC):
    """A study: a frozen dataclass whose fields are its options.

    Class attributes say what `run` is given: `takes` one system or many; `tasks` one, or many as
    `harness.spec.join` writes them; what stands in where nothing is said; and `old_options`: the
    fields that options of the command became, as {"--draw": "draws"}.
    """

    takes: ClassVar[Literal["one", "many"]] = "many"
    tasks: ClassVar[Literal["one", "many"]] = "one"
    default_systems: ClassVar[tuple[str, ...]] = ("minilm",)
    default_task: ClassVar[str] = "limit-small"
    default_seed: ClassVar[int] = 0
    old_options: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Study systems on a task.

        Args:
            session: Where vectors are kept, the seed, and progress.
            systems: Specs, each once; one of them where the study takes one.
            task: A spec; several joined where the study takes many.

        Raises:
            InputError: for what the study cannot use.
        """


COMMAND = ("model", "task", "seed", "out", "cache", "fresh", "plugin", "format", "style", "quiet",
           "help")  # fmt: skip
"""Options of the command, and so names that no field of a study has."""

WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def check(name: str, made: Any) -> None:
    """Refuse what is no study. Raises InputError."""
    whole = inspect.isclass(made) and issubclass(made, Study) and is_dataclass(made)
    if not whole or inspect.isabstract(made):
        raise InputError(
            f"study {name!r}: expected a frozen dataclass that is a harness.studies.Study and has "
            f"run(session, systems, task): not {made!r}"
        )
    try:
        inspect.signature(made.run).bind("self", "session", "systems", "task")
    except TypeError:
        raise InputError(
            f"study {name!r}: run{inspect.signature(made.run)}: expected run(self, session, "
            "systems, task)"
        ) from None
    if (made.__doc__ or f"{made.__name__}(").startswith(f"{made.__name__}("):  # dataclass's own
        raise InputError(f"study {name!r}: it has no docstring: say in a line what it tells")
    for attribute, hint in get_type_hints(Study).items():
        require_type(getattr(made, attribute), hint, f"study {name!r}: {attribute}")
    hints = read_hints(made, f"study {name!r}")
    for field in inspect.signature(made).parameters.values():
        _check_field(
            f"study {name!r}: its field {field.name}", field, hints.get(field.name, object)
        )


def _check_field(where: str, field: inspect.Parameter, hint: Any) -> None:
    if field.name in COMMAND:
        raise InputError(f"{where} is called as an option of the command: rename the field")
    if field.default is field.empty:
        raise InputError(f"{where} has no default: give it one")
    if not _is_option(hint):
        raise InputError(
            f"{where} is {inspect.formatannotation(hint)}: expected int, float, str, bool, a "
            "Literal, or a tuple[..., ...] of these"
        )
    require_type(field.default, hint, where)


def _is_option(hint: Any) -> bool:
    """Whether a spec can hold what is of a type."""
    parts = [part for part in get_args(hint) if part not in (type(None), Ellipsis)]
    if get_origin(hint) in (tuple, Union, UnionType):
        return len(parts) == 1 and _is_option(parts[0])
    return hint in WORDS or get_origin(hint) is Literal


STUDIES: Registry[Study] = Registry(
    "study", "harness.studies", reserved=("cells", "list"), check=check
)

study = STUDIES.register
"""Decorate a frozen dataclass that is a Study with the name that commands call it by."""


def conduct(spec: Spec, session: Session, systems: Sequence[str], task: str) -> Findings:
    """What a study finds.

    Args:
        spec: Of the study.
        session: Where vectors are kept, the seed, and progress.
        systems: Specs, each once.
        task: A spec; several joined where the study takes many.

    Raises:
        InputError: For what the study cannot use.
        HarnessError: It fails, or returns something else than findings.
    """
    try:
        found: object = STUDIES.create(spec).run(session, systems, task)
    except HarnessError:
        raise
    except Exception as error:  # anything may be wrong with somebody's study
        said = f"{type(error).__name__}: {reason(error)}"
        raise HarnessError(
            f"study {spec.name} fails: {said} (HARNESS_DEBUG=1 shows where)"
        ) from error
    if not isinstance(found, Findings):
        raise HarnessError(
            f"study {spec.name}: run returned {type(found).__name__}: expected harness.studies."
            "Findings(headline, frames)"
        )
    return found


@dataclass(frozen=True)
class Option:
    """An option of a study: its type as people say it, its default as a spec has it, its help.

    many: whether it takes a list.
    """

    name: str
    kind: str
    many: bool
    default: str
    about: str


def options(name: str) -> list[Option]:
    """The options of a study that is registered, from its fields."""
    kind, written = type(STUDIES.create(name)), dict(STUDIES.resolve(name).params)
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for parameter in inspect.signature(kind).parameters:
        hint, about = hints[parameter], ""
        if get_origin(hint) is Annotated:
            hint, about, *_ = get_args(hint)
        many = get_origin(hint) is tuple
        found.append(Option(parameter, _kind(hint), many, written.get(parameter, ""), about))
    return found


def _kind(hint: Any) -> str:
    """A type in words."""
    parts = [part for part in get_args(hint) if part not in (type(None), Ellipsis)]
    if get_origin(hint) is tuple:
        many = "" if get_origin(parts[0]) is Literal else "s"
        return f"{_kind(parts[0])}{many}, as A+B"
    if get_origin(hint) is Literal:
        return ", ".join(map(str, parts))
    if parts:
        return _kind(parts[0])
    return WORDS[hint]
