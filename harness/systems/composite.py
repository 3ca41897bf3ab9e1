"""Systems made of others: what each part found, and all that is known of it, as one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from harness.data import Retrieval
from harness.endpoints.usage import known_usage, sum_usage
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.pipeline.represent import each_maker
from harness.pipeline.single import Ranked, Request
from harness.records import IndexRecord, PartRecord, SystemRecord
from harness.records.fingerprints import composite_fingerprint
from harness.spec import bare, parse, split
from harness.systems import RETRIEVERS, Retriever, rank
from harness.vectors import Run

Part = tuple[str, Ranked]
"""The spec of a part of a system, and what it found."""


class Composite(Retriever):
    """One ranking made of those of other systems: `parts` and `combine` are all that is its own.

    A frozen dataclass; `depth` is how many results of each part it looks at.
    """

    depth: int = 1000

    @abstractmethod
    def combine(self, found: Sequence[Ranked], k: int) -> Run:
        """Make the k best documents of each query [q, k] of what the parts found.

        Args:
            found: In the order of `parts`; `run` of each is what it returned.
            k: Results of a query.
        """

    def rank(self, spec: str, data: Retrieval, request: Request) -> Ranked:
        """Rank by each part, and combine."""
        found = rank_parts(self.parts, data, deepen(request, self.depth))
        k, name = min(request.depth, len(data.corpus.ranked)), parse(spec).name
        with request.clock.phase("search", name, items=len(data.queries), unit="queries"):
            run = self.combine([part for _, part in found], k)
        return join(spec, found, run, request, answer=ask(found, lambda one: self.combine(one, k)))


def split_parts(name: str, target: str) -> tuple[str, ...]:
    """Two parts or more, as specs write them: bm25+minilm.

    Raises:
        InputError: There are fewer, or one occurs twice.
    """
    parts = tuple(bare(part) for part in split(target, "+"))
    if len(parts) < 2 or not all(parts):
        raise InputError(f"{name}:{target}: expected retrievers with + between, as bm25+minilm")
    repeated = [part for part in parts if parts.count(part) > 1]
    if repeated:
        raise InputError(f"{name}:{target}: {repeated.pop()} occurs twice: name it once")
    return parts


def deepen(request: Request, depth: int) -> Request:
    """What is asked of parts: so many results at least; what does not fit one of them is left."""
    return replace(request, depth=max(depth, request.depth), lenient=True)


def rank_parts(parts: Iterable[str], data: Retrieval, request: Request) -> list[Part]:
    """The ranking of each part; its phases are told apart by its spec."""
    return [
        (part, rank(part, data, replace(request, clock=request.clock.nest(part)))) for part in parts
    ]


def ask(
    found: Sequence[Part], combine: Callable[[Sequence[Ranked]], Run]
) -> Callable[[int], Run] | None:
    """A function that asks each part for one query and combines; None where some cannot be."""
    answers = [(part, part.answer) for _, part in found]

    def answer(row: int) -> Run:
        return combine([replace(part, run=one(row)) for part, one in answers if one])

    return answer if all(one for _, one in answers) else None


def join(
    spec: str,
    found: Sequence[Part],
    run: Run,
    request: Request,
    *,
    weights: Sequence[float] | None = None,
    answer: Callable[[int], Run] | None = None,
) -> Ranked:
    """A ranking with all that is known of the parts that it is made of.

    Args:
        spec: Of the whole, as it was asked for.
        found: Each part.
        run: What was made of them.
        request: What was asked of the whole.
        weights: Of the parts, where their scores are weighed.
        answer: Asks for one query, see `ask`.
    """
    parts, size = [part for _, part in found], sum(part.bytes for _, part in found)
    return Ranked(
        run,
        _describe(spec, parts, weights),
        IndexRecord(
            spec=request.index,
            full=str(INDEXES.resolve(request.index)),
            exact=all(part.index is None or part.index.exact for part in parts),
            bytes=size,
        ),
        tuple(record for name, part in found for record in _records(name, part)),
        weights=tuple(weights or ()),
        candidates=any(part.candidates for part in parts),
        bytes=size,
        counts=sum_usage(part.counts for part in parts),
        warnings=tuple(dict.fromkeys(note for part in parts for note in part.warnings)),
        usage=known_usage(sum_usage(part.usage for part in parts)),
        makers=tuple(each_maker(maker for part in parts for maker in part.makers)),
        rewritten=any(part.rewritten for part in parts),
        answer=answer,
    )


def _describe(spec: str, parts: Sequence[Ranked], weights: Sequence[float] | None) -> SystemRecord:
    """What a record says of the whole."""
    full, decided = str(RETRIEVERS.resolve(spec)), dict[str, object]()
    if weights is not None:
        decided["weights"] = list(weights)
    each = [
        (part.system, "" if part.parts or part.index is None else part.index.full) for part in parts
    ]
    return SystemRecord(
        spec=spec, full=full, fingerprint=composite_fingerprint(full, each, **decided)
    )


def _records(name: str, part: Ranked) -> list[PartRecord]:
    """What a record says of a part and of those that it is made of itself."""
    whole = PartRecord(
        system=name,
        index=None if part.parts else part.index,
        counts=part.counts,
        usage=dict(part.usage),
        bytes=part.bytes,
        weights=list(part.weights),
    )
    return [whole, *(inner.nest(name) for inner in part.parts)]
