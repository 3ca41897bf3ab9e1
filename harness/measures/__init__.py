"""Measures: one registered function each, found under any usual spelling, recorded under one name.

    @measure("Half", cutoff=True, aliases=("half",), citation="...")
    def half(judged: Judged, cutoff: int) -> Float64:
        \"\"\"Half of the precision.\"\"\"
        return judged.hits(cutoff) / cutoff / 2

What a function is given depends on the kind of task: for retrieval a `Judged` (harness.measures.
judged), from which it makes one number a query, float64 [q]. In a plugin the decorator is
`harness.measure`; an installed package names its module in the entry points `harness.measures`.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from harness import promises
from harness.arrays import Float64
from harness.errors import InputError
from harness.registry import LISTED, NAME, Registry, decorate, names_of, place_of

Function = TypeVar("Function", bound=Callable[..., object])
Value = float | str

DEPTH = 1000  # results of a ranking, where a measure has no cut-off: trec_eval's and MTEB's
NEEDS = {
    "run": "a ranking",
    "qrels": "judgments",
    "groups": "groups of queries",
    "changes": "changed instructions",
    "names": "ids of queries and documents",
}
"""What a measure of retrieval may ask for beside the judged results, by parameter."""

SPELLED = re.compile(r"([^()@]+)(?:\(([^()]*)\))?(?:@(.*))?", re.DOTALL)  # RBP(p=0.8)@10
NUMBERED = re.compile(r"(.+?)_(?:at_|cut_)?([0-9]+)", re.DOTALL | re.I)  # ndcg_at_10, NDCG_CUT_10
DEEPEST = 10**15  # a cut-off that arrays of whole numbers hold, beyond every corpus


@dataclass(frozen=True)
class MeasureDefinition:
    """A measure as it is registered. See `measure` for what the fields mean."""

    name: str
    kind: str
    function: Callable[..., Any] = field(repr=False)
    cutoff: bool | Literal["optional"] = False
    whole: Mapping[str, int] = field(default_factory=dict)
    better: Literal["high", "low"] = "high"
    graded: bool = False
    needs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mteb: str = ""
    citation: str = ""
    about: str = ""
    depth: int = DEPTH
    read: Callable[[str], str] | None = field(default=None, repr=False)

    @property
    def summary(self) -> str:
        """What it measures, in a sentence."""
        return self.about or (inspect.getdoc(self.function) or "").partition("\n\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """What may be set in brackets, by name."""
        found = list(inspect.signature(self.function).parameters.items())[1:]
        return {key: one for key, one in found if key not in ("cutoff", *self.needs)}

    @property
    def written(self) -> str:
        """Its canonical name with a K for the cut-off and the parameters that it always shows."""
        if self.read:
            return f"{self.name}:NAME"
        shown = [key for key, one in self.parameters.items() if one.default is not None]
        brackets = f"({', '.join(f'{key}=...' for key in shown)})" if shown else ""
        return f"{self.name}{brackets}{'@K' if self.cutoff is True else ''}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name it is understood under, its own first."""
        names = (self.name, *self.aliases, *self.whole, *([self.mteb] if self.mteb else []))
        return tuple(dict.fromkeys(names))

    @property
    def others(self) -> dict[str, int | None]:
        """What else it is called, each once whatever its case, with the cut-off that is implied."""
        found = {name.lower(): name for name in reversed(self.spellings)}
        implied = {name.lower(): cutoff for name, cutoff in self.whole.items()}
        if self.name.lower() not in implied:
            found.pop(self.name.lower())
        return {name: implied.get(key) for key, name in reversed(found.items())}

    def require_parameters(self) -> None:
        """Raise InputError where the function does not take what it will be called with."""
        given = [*(["cutoff"] if self.cutoff else []), *self.needs]
        promises.require_parameters(self.function, given, f"measure {self.name}")

    @property
    def grouped(self) -> bool:
        """Whether its values are of groups of queries and not of queries."""
        return bool({"groups", "changes"} & set(self.needs))


MEASURES: Registry[MeasureDefinition] = Registry("measure", "harness.measures")
"""Definitions by KIND/NAME."""


def measure(
    name: str | Callable[..., object],
    *,
    kind: str = "retrieval",
    cutoff: bool | Literal["optional"] = False,
    whole: Mapping[str, int] | None = None,
    better: Literal["high", "low"] = "high",
    graded: bool = False,
    needs: Sequence[str] = (),
    aliases: Sequence[str] = (),
    mteb: str = "",
    citation: str = "",
    about: str = "",
    depth: int = DEPTH,
    read: Callable[[str], str] | None = None,
) -> Callable[[Function], Function]:
    """Register a function as a measure.

    Args:
        name: What it is called in tables and records; without one (the decorator alone), the
            function's own name.
        kind: Of the tasks that it measures.
        cutoff: Whether a name says how many results count: True where it must, as in nDCG@10,
            "optional" where it may. The function then takes `cutoff`.
        whole: Spellings that name no cut-off and have one all the same, as trec_eval's `map`.
        better: Whether a high or a low value is good.
        graded: Whether it reads grades, and not only whether a document is relevant.
        needs: What else the function takes, each a keyword of that name: see `NEEDS`.
        aliases: Other spellings, in any case.
        mteb: What MTEB calls it, without the cut-off: also a spelling.
        citation: Who defined it.
        about: What it measures; empty for the first paragraph of the function's docstring.
        depth: Results of a ranking that it looks at where it has no cut-off, 0 for no ranking.
        read: For a family of measures, NAME:TEXT: what makes the text canonical, or refuses it.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        InputError: For a spelling that is taken, or a fact that cannot be.
    """

    def add(name: str, function: Function) -> Function:
        made = MeasureDefinition(
            name, kind, function, cutoff, dict(whole or {}), better, graded, tuple(needs),
            tuple(aliases), mteb, citation, about, depth, read,
        )  # fmt: skip
        if not MEASURES.owns(place_of(function)):
            _check(made)
        MEASURES.register(f"{kind}/{name}", of=function)(lambda: made)
        return function

    decorator: Callable[[Function], Function] = decorate(name, add, "measure")
    return decorator


def _check(made: MeasureDefinition) -> None:
    """Refuse what a measure cannot be. Raises InputError."""
    facts: dict[str, tuple[Sequence[object], tuple[object, ...]]] = {
        "better": ([made.better], ("high", "low")),
        "cutoff": ([made.cutoff], (True, False, "optional")),
        "needs": (made.needs, tuple(NEEDS)),
    }
    for fact, (given, known) in facts.items():
        for one in given:
            if one not in known:
                expected = ", ".join(map(str, known))
                raise InputError(f"measure {made.name}: {fact}={one!r}: expected one of {expected}")
    kinds = names_of("harness.kinds")
    if made.kind not in kinds and (near := difflib.get_close_matches(made.kind, kinds, 1, 0.8)):
        raise InputError(
            f"measure {made.name}: unknown kind of task {made.kind!r}. Did you mean {near[0]!r}? "
            "A kind of your own is registered before its measures"
        )
    for spelling in made.spellings:
        if not NAME.fullmatch(spelling):
            raise InputError(f"measure {made.name}: no name can have the spelling {spelling!r}")
        for one in definitions(made.kind):
            if one.name != made.name and spelling.lower() in map(str.lower, one.spellings):
                raise InputError(
                    f"measure {made.name}: {spelling!r} is a spelling of {one.name} already: "
                    "choose another"
                )


def definitions(kind: str = "") -> list[MeasureDefinition]:
    """All measures, or those of a kind of task, by name."""
    found = [entry.factory() for entry in MEASURES.entries()]
    return [one for one in found if kind in ("", one.kind)]


@dataclass(frozen=True)
class Measure:
    """A name with what was chosen of it: parse(str(measure)) == measure.

    cutoff: results of a ranking that count. parameters: what stands in brackets, all but those
    that are unset.
    """

    name: str
    cutoff: int | None = None
    parameters: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        if self.parameters and not self.parameters[0][0]:  # of a family, as ir:NAME
            return f"{self.name}:{self.parameters[0][1]}"
        inner = ",".join(f"{key}={_show(value)}" for key, value in self.parameters)
        brackets = f"({inner})" if inner else ""
        return f"{self.name}{brackets}" + ("" if self.cutoff is None else f"@{self.cutoff}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of task that it can measure."""
        return tuple(one.kind for one in definitions() if one.name == self.name)

    @property
    def depth(self) -> int:
        """Results of a ranking that it looks at; 0 for a measure of something else."""
        known = [one.depth for one in definitions() if one.name == self.name]
        return self.cutoff or max(known, default=0)

    def definition(self, kind: str = "") -> MeasureDefinition:
        """What is registered under its name. Raises InputError for nothing."""
        found = next((one for one in definitions(kind) if one.name == self.name), None)
        if found is None:
            raise unknown_measure(str(self), kind)
        return found

    def values(
        self,
        material: object,
        *,
        kind: str = "retrieval",
        size: int | None = None,
        queries: Sequence[str] = (),
        **given: object,
    ) -> Float64:
        """Call the function, and hold it to what it promises.

        Args:
            material: What functions of this kind of task take first.
            kind: Of the task.
            size: How many values there must be; None for as many as there are groups.
            queries: Ids of what has a value each, for errors.
            given: What it may need beside, by parameter.

        Returns:
            float64 [size]; NaN only where `size` is None.

        Raises:
            InputError: That names the measure, for a function that fails, for a wrong number of
                values, and for what is no finite number.
        """
        known = self.definition(kind)
        options: dict[str, Any] = {key or "name": value for key, value in self.parameters}
        options |= {key: given[key] for key in known.needs}
        if known.cutoff:
            options["cutoff"] = self.cutoff
        found = promises.call(known.function, f"measure {self}", material, **options)
        return promises.read_values(found, f"measure {self} returns", size, queries)

    @classmethod
    def parse(cls, text: str, kind: str = "") -> Measure:
        """Read a measure under any usual spelling.

        Args:
            text: As `nDCG@10`, `MRR@10`, `MAP`, `recall_100`, `ndcg_at_10`, `RBP(p=0.8)`.
            kind: Of the task: where two kinds have measures of one name (AP and ap), whose is
                meant. Case decides where it is empty.

        Returns:
            The measure under its canonical name.

        Raises:
            InputError: With the real choices and the nearest.
        """
        if not isinstance(text, str):
            raise InputError(f"a measure is called {text!r}: expected its name, as nDCG@10")
        text = text.strip()
        family, colon, rest = text.partition(":")
        for one in definitions() if colon else ():
            if one.read and one.name.lower() == family.lower():
                return cls(one.name, None, (("", one.read(rest)),))
        found = SPELLED.fullmatch(text)
        if found is None:
            raise unknown_measure(text, kind)
        name, inner, cutoff = found.groups()
        known = _spelt(name, kind, cutoff is not None)
        if known is None and inner is None and cutoff is None:
            numbered = NUMBERED.fullmatch(name)
            name, cutoff = numbered.groups() if numbered else (name, None)
            known = _spelt(name, kind, cutoff is not None)
        if known is None:
            raise unknown_measure(text, kind)
        known.require_parameters()
        chosen = _parameters(known, inner or "", text)
        return cls(known.name, _cutoff(known, name, cutoff, text), chosen)


def fold(name: str) -> str:
    """A spelling of which case and what joins its words are no part: hit_rate, HitRate."""
    return re.sub(r"[\s_-]", "", name).lower()


def _spelt(name: str, kind: str, cut: bool) -> MeasureDefinition | None:
    """The definition that a name stands for, of this kind first.

    Then one that takes a cut-off where there is one, then one that is spelt in this case.
    """
    found = [one for one in definitions() if fold(name) in map(fold, one.spellings)]
    found.sort(
        key=lambda one: (
            one.kind != kind,
            cut and not one.cutoff,
            name not in one.spellings,
            one.name != name,
        )
    )
    return found[0] if found else None


def _cutoff(known: MeasureDefinition, name: str, cutoff: str | None, text: str) -> int | None:
    """The cut-off that a spelling of a measure has."""
    if cutoff is None:
        implied = {fold(key): value for key, value in known.whole.items()}.get(fold(name))
        if implied is None and known.cutoff is True:
            raise InputError(
                f"measure {text!r}: expected a cut-off of at least 1, as in {known.name}@10"
            )
        return implied
    if not known.cutoff:
        raise InputError(f"unknown measure {text!r}: {known.name} takes no cut-off")
    if not cutoff.isascii() or not cutoff.isdigit() or not cutoff.strip("0"):
        raise InputError(
            f"measure {text!r}: expected a cut-off of at least 1, as in {known.name}@10"
        )
    if len(cutoff) > len(str(DEEPEST)) or int(cutoff) > DEEPEST:
        raise InputError(f"measure {text[:40]!r}: expected a cut-off of at most {DEEPEST:,}")
    return int(cutoff)


def _parameters(known: MeasureDefinition, inner: str, text: str) -> tuple[tuple[str, Value], ...]:
    """What stands in brackets, with defaults filled in: "p=0.8", or 0.8 for the first."""
    own, given = known.parameters, dict[str, str]()
    for place, part in enumerate(filter(None, map(str.strip, inner.split(",")))):
        key, equals, value = part.partition("=")
        key, value = (key.strip(), value.strip()) if equals else ([*own, ""][place], part)
        if key == "rel" and value == "1" and key not in own:
            continue  # ir-measures' way to say that a gain of 1 is relevant, which holds here
        if key not in own:
            known_here = ", ".join(own) or "none"
            raise InputError(
                f"measure {text!r}: {known.name} has no {key or part}: its parameters: {known_here}"
            )
        if key in given:
            raise InputError(f"measure {text!r} gives {key} twice")
        given[key] = value
    read = {key: _number(value, f"measure {text!r}: {key}") for key, value in given.items()}
    defaults = {key: one.default for key, one in own.items() if one.default is not None}
    chosen = defaults | read
    return tuple((key, chosen[key]) for key in own if key in chosen)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{where}={text}: expected a number")
    return value


def _show(value: Value) -> str:
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def unknown_measure(text: str, kind: str = "") -> InputError:
    """An error that lists the real choices, the near ones first, and the nearest by any spelling.

    Args:
        text: What was asked for.
        kind: Of the task, empty for any.
    """
    known = definitions(kind) or definitions()
    folded = {name.lower(): one for one in known for name in one.spellings}
    name, _, cutoff = text.lower().partition("@")
    near = difflib.get_close_matches(name, folded, n=LISTED, cutoff=0.3)
    choices = list(dict.fromkeys(folded[one].written for one in near))
    every = list(dict.fromkeys(one.written for one in known))
    listed = choices + [one for one in every if one not in choices]
    more = f" and {len(every) - LISTED:,} more" if len(every) > LISTED else ""
    guess = ""
    if difflib.get_close_matches(name, near[:1]):
        usual = cutoff if cutoff.isascii() and cutoff.isdigit() else "10"
        guess = f" Did you mean {folded[near[0]].written.replace('@K', f'@{usual}')!r}?"
    asked = text.partition("@")[0]
    return InputError(
        f"unknown measure {asked!r}.{guess} Choices: {', '.join(listed[:LISTED])}{more}"
    )
