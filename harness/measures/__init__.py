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

from harness import promises
from harness.errors import InputError
from harness.parameters import read_hints, read_signature, require_type
from harness.registry import NAME, Registry, decorate, names_of, place_of

Function = TypeVar("Function", bound=Callable[..., object])
Value = float | str

NUMBERED = re.compile(r"(.+?)_(?:at_|cut_)?([0-9]+)", re.DOTALL | re.I)  # ndcg_at_10, NDCG_CUT_10
DEPTH = 1000  # results of a ranking, where a measure has no cut-off: trec_eval's and MTEB's
NEEDS = {
    "run": "a ranking",
    "qrels": "judgments",
    "groups": "groups of queries",
    "changes": "changed instructions",
    "names": "ids of queries and documents",
}
"""What a measure of retrieval may ask for beside the judged results, by parameter."""

KNOWN: dict[str, tuple[object, ...]] = {
    "better": ("high", "low"),
    "cutoff": (True, False, "optional"),
    "needs": tuple(NEEDS),
}
"""What some facts of a measure may be."""


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
    needs: Sequence[str] = ()
    aliases: Sequence[str] = ()
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

    def understands(self, spelling: str) -> bool:
        """Whether it is called so already: in any case, however words are joined, or with K."""
        known, numbered = set(map(fold, self.spellings)), NUMBERED.fullmatch(spelling)
        cut = bool(self.cutoff and numbered and fold(numbered[1]) in known)
        return cut or fold(spelling) in known

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
    name: str | Callable[..., object] | None = None,
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
            name, kind, function, cutoff, {} if whole is None else whole, better, graded, needs,
            aliases, mteb, citation, about, depth, read,
        )  # fmt: skip
        if not MEASURES.owns(place_of(function)):
            _check(made)
        MEASURES.register(f"{kind}/{name}", of=function)(lambda: made)
        return function

    decorator: Callable[[Function], Function] = decorate(name, add, "measure")
    return decorator


def _check(made: MeasureDefinition) -> None:
    """Refuse what a measure cannot be. Raises InputError."""
    where = f"measure {made.name}"
    facts, hints = vars(made), read_hints(MeasureDefinition, where)
    for fact in hints.keys() - KNOWN:
        require_type(facts[fact], hints[fact], f"{where}: {fact}")
    require_type(made.needs, hints["needs"], f"{where}: needs")
    for fact, known in KNOWN.items():
        given = facts[fact]
        if wrong := [one for one in (given if fact == "needs" else [given]) if one not in known]:
            expected = ", ".join(map(str, known))
            raise InputError(f"{where}: {fact}={wrong[0]!r}: expected one of {expected}")
    if made.depth < 0:
        raise InputError(f"{where}: depth={made.depth}: expected 0 or more")
    for spelling, cutoff in made.whole.items():
        if cutoff < 1 or not made.cutoff:
            expected = "a cut-off of at least 1" if made.cutoff else "a measure with cutoff"
            raise InputError(f"{where}: whole={{{spelling!r}: {cutoff}}}: expected {expected}")
    read_signature(made.function, where)
    _check_names(made, where)


def _check_names(made: MeasureDefinition, where: str) -> None:
    kinds = names_of("harness.kinds")
    if made.kind not in kinds and (near := difflib.get_close_matches(made.kind, kinds, 1, 0.8)):
        raise InputError(
            f"{where}: unknown kind of task {made.kind!r}. Did you mean {near[0]!r}? "
            "A kind of your own is registered before its measures"
        )
    for spelling in made.spellings:
        if not NAME.fullmatch(spelling):
            raise InputError(f"{where}: no name can have the spelling {spelling!r}")
        for one in definitions(made.kind):
            if one.name != made.name and one.understands(spelling):
                raise InputError(
                    f"{where}: {spelling!r} is a spelling of {one.name} already: choose another"
                )


def definitions(kind: str = "") -> list[MeasureDefinition]:
    """All measures, or those of a kind of task, by name."""
    found = [entry.factory() for entry in MEASURES.entries()]
    return [one for one in found if kind in ("", one.kind)]


def fold(name: str) -> str:
    """A spelling of which case and what joins its words are no part: hit_rate, HitRate."""
    return re.sub(r"[\s_-]", "", name).lower()
