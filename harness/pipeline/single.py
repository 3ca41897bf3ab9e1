"""One model with its index: a ranking of a collection's documents for each query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness import records
from harness.data import NO_TASK, Purpose, Retrieval, Role
from harness.encoders import ENCODERS, OWN, CollectionEncoder, Encoder, TextEncoder, encoder_spec
from harness.endpoints.usage import known_usage, sum_usage
from harness.errors import InputError
from harness.indexes import INDEXES, Found, Index, IndexInfo, Searcher
from harness.kinds import texts_to_search
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Counts, Maker, VectorCache, Workplace, represent
from harness.pipeline.retrieve import Searchable, retrieve
from harness.progress import silent
from harness.records import IndexRecord, LatencyRecord, PartRecord, SystemRecord
from harness.rewriting import REWRITERS, Feedback, Rewriter, Rewritten, TextRewriter
from harness.store import Store
from harness.vectors import Dense, Embeddings, MultiVector, Run, Sparse, alone, of_kind
from harness.vectors.lengths import unit


@dataclass(frozen=True)
class Request:
    """What is asked of a system.

    depth: results of a query. index, rewrite: specs. lenient: vectors that the index does not take
    are searched exactly, and rewriting that does not fit is left out, where some part of a system
    can have them. purpose: what texts are encoded for. feedback: what pseudo-relevance feedback
    looks at, in place of a first search. own: models that were handed over, by the specs that name
    them. cache: vectors that were just used. tuning: judged queries by the name of their split, to
    choose weights by.
    """

    depth: int
    store: Store
    clock: Clock = field(default_factory=Clock)
    index: str = "exact"
    rewrite: str = "none"
    exclude_self: bool = False
    lenient: bool = False
    purpose: Purpose = NO_TASK
    feedback: Run | None = None
    own: Mapping[str, object] = field(default_factory=dict)
    cache: VectorCache = field(default_factory=VectorCache)
    tuning: Callable[[str], Tuning] | None = None


@dataclass(frozen=True)
class Tuning:
    """Queries to choose weights by, and the mean of the task's measure over a ranking of them."""

    data: Retrieval
    score: Callable[[Run], float]


@dataclass(frozen=True)
class Ranked:
    """A system's ranking [q, k], what the system is, and what was counted on the way.

    index: what served it, of a system made of others what serves its parts together; None where
    nothing was searched. parts: of such a system, inner ones after the one that holds them.
    weights: of its direct parts, where their scores are weighed. candidates: whether these are all
    that was scored. bytes: memory of what is searched, 0 where nothing is. usage: at endpoints, by
    name. least: the lowest score that is possible, None where there is none. rewritten: whether
    queries were rewritten. answer: asks one query, by its row, alone and anew, a run [1, k]; None
    where that cannot be.
    """

    run: Run
    system: SystemRecord
    index: IndexRecord | None = None
    parts: tuple[PartRecord, ...] = ()
    weights: tuple[float, ...] = ()
    candidates: bool = False
    latency: LatencyRecord | None = None
    bytes: int = 0
    counts: Counts = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)
    makers: tuple[Maker, ...] = ()
    least: float | None = None
    rewritten: bool = False
    answer: Callable[[int], Run] | None = None


def encoder_of(spec: str, request: Request) -> Encoder:
    """The encoder that a spec names, as it is asked for the task."""
    encoder = request.own.get(spec)
    if not isinstance(encoder, TextEncoder | CollectionEncoder):
        request.clock.progress("open the model", 0, 0, "")
        encoder = ENCODERS.create(encoder_spec(spec))
    return encoder.for_task(request.purpose)


def rank(spec: str, data: Retrieval, request: Request) -> Ranked:
    """Rewrite, encode, build, search. spec: of an encoder.

    Raises InputError where encoder, index and rewriting do not fit; else what they raise.
    """
    encoder, clock = encoder_of(spec, request), request.clock
    named, index = match_index(spec, encoder, request)
    rewriter = _rewriter(spec, encoder, request)
    feedback = rewriter if isinstance(rewriter, Feedback) else None
    data, rewritten = _rewrite(rewriter, data, request)
    counts = feedback is not None and feedback.counts
    place, cosine = Workplace(request.store, clock, request.cache), encoder.similarity == "cosine"
    parts = texts_to_search(data)
    vectors = represent(spec, encoder, parts, place, counts=counts, scaled=cosine)
    documents, queries = vectors.parts["documents"], vectors.parts["queries"]
    system = describe(spec, encoder, documents)
    with clock.phase("build", items=len(data.corpus), unit="documents"):
        searcher, served, notes = _build(named, index, documents, request)
    collection = Searchable(data, documents, searcher, vectors.parts.get("counts"))
    found = _search(queries, collection, feedback, request)
    served = served.model_copy(update={"device": "+".join(found.devices) or "cpu"})
    if data.candidates is not None:  # which are few: all of them are scored
        served = IndexRecord(spec=served.spec, full=served.full, exact=True)
        idle = f"all candidates of a query are scored: index {named} plays no part"
        notes = () if named == "exact" else (idle,)
    simple = data.candidates is None and data.corpus.parents is None and rewriter is None
    return Ranked(
        found.run,
        system,
        served,
        candidates=data.candidates is not None,
        bytes=served.bytes or 0,
        counts=vectors.counts,
        warnings=(*rewritten.notes, *vectors.warnings, *notes, *found.notes),
        usage=known_usage(sum_usage([vectors.usage, rewritten.usage])),
        makers=tuple(vectors.makers),
        least=_least(encoder),
        rewritten=rewriter is not None,
        answer=_answering(encoder, collection, queries, request.depth) if simple else None,
    )


def _rewrite(
    rewriter: Rewriter | None, data: Retrieval, request: Request
) -> tuple[Retrieval, Rewritten]:
    """The collection with its queries rewritten, where their texts are, and what became known."""
    texts, clock = data.queries.texts, request.clock
    if not isinstance(rewriter, TextRewriter):
        return data, Rewritten(list(texts))
    with clock.phase("rewrite", items=len(texts), unit="queries"):
        rewritten = rewriter.rewrite(texts, clock.progress, root=request.store.root)
    return replace(data, queries=replace(data.queries, texts=rewritten.texts)), rewritten


def _search(
    queries: Embeddings, collection: Searchable, feedback: Feedback | None, request: Request
) -> Found:
    """The run that is asked for, and what is known of the search."""
    with request.clock.phase("search", items=len(queries), unit="queries"):
        return retrieve(
            queries,
            collection,
            request.depth,
            exclude_self=request.exclude_self,
            feedback=feedback,
            first=request.feedback,
            progress=request.clock.progress,
        )


def _least(encoder: Encoder) -> float | None:
    """The lowest score that is possible, None where there is none."""
    if encoder.representation == "sparse":
        return 0.0
    return -1.0 if encoder.similarity == "cosine" else None


def describe(spec: str, encoder: Encoder, vectors: Embeddings) -> SystemRecord:
    """What a record says of an encoder, and of vectors that it made."""
    prompts, names = dict[str, str](), dict[str, str]()
    if not isinstance(encoder, CollectionEncoder):
        roles: tuple[Role, ...] = ("query", "document", "text")
        prompts = {str(role): encoder.prompt(role) for role in roles}
        names = {str(role): name for role in roles if (name := encoder.name_prompt(role))}
    named = encoder_spec(spec)
    return SystemRecord(
        spec=spec,
        full=spec if named.name == OWN else str(ENCODERS.resolve(named)),
        source="object" if named.name == OWN else "registry",
        fingerprint=dict(encoder.fingerprint()),
        representation=encoder.representation,
        similarity=encoder.similarity,
        dim=vectors.dim,
        parameters=encoder.parameters,
        prompts=prompts,
        prompt_names=names,
    )


def rewriting(spec: str) -> records.RewritingRecord | None:
    """What a record says of how queries were rewritten; None where they are as they were."""
    rewriter = _create_rewriter(spec)
    if rewriter is None:
        return None
    full, details = str(REWRITERS.resolve(spec)), dict(rewriter.describe())
    return records.RewritingRecord(spec=spec, full=full, details=details)


def _create_rewriter(spec: str) -> Rewriter | None:
    return None if str(REWRITERS.resolve(spec)) == "none" else REWRITERS.create(spec)


def _rewriter(spec: str, encoder: Encoder, request: Request) -> Rewriter | None:
    """What rewrites an encoder's queries, if anything. Raises InputError where it does not fit."""
    rewriter = _create_rewriter(request.rewrite)
    if not isinstance(rewriter, Feedback) or encoder.representation in rewriter.accepts:
        return rewriter
    if request.lenient:
        return None
    raise InputError(
        f"{spec} makes {encoder.representation} vectors and {request.rewrite} takes "
        f"{' or '.join(rewriter.accepts)}: choose another rewriting"
    )


def match_index(spec: str, encoder: Encoder, request: Request) -> tuple[str, Index]:
    """The spec and the index for an encoder's vectors.

    Raises InputError where the one asked for does not take them.
    """
    named, index = request.index, INDEXES.create(request.index)
    if encoder.representation not in index.accepts:
        if not request.lenient:
            raise InputError(
                f"{spec} makes {encoder.representation} vectors and index {named} takes "
                f"{' or '.join(index.accepts)}: choose another index"
            )
        named, index = "exact", INDEXES.create("exact")
    index.require(encoder.representation)
    return named, index


def _build(
    spec: str, index: Index, documents: Embeddings, request: Request
) -> tuple[Searcher, IndexRecord, tuple[str, ...]]:
    """Documents made searchable, what that is, and what was noticed.

    A structure of the store serves where there is one.
    """
    searcher = index.open(documents, request.store.root / "indexes", request.clock.progress)
    info = searcher.info
    size = documents.bytes if info.bytes is None else info.bytes
    record = index_record(spec, index, replace(info, bytes=size))
    return searcher, record, (*info.notes, *index.notes(request.depth))


def index_record(spec: str, index: Index, info: IndexInfo) -> IndexRecord:
    """What a record says of an index."""
    described = index.describe() if info.library is None else info.library
    library = {key: value for key, value in described.items() if key != "exact"}
    return IndexRecord(
        spec=spec,
        full=str(INDEXES.resolve(spec)),
        exact=info.exact,
        bytes=info.bytes,
        reused=info.reused,
        library=library,
    )


def one_query(encoder: Encoder, queries: Embeddings, texts: Sequence[str], row: int) -> Embeddings:
    """The vector of one query, encoded anew; an encoder of whole collections has it already."""
    if isinstance(encoder, CollectionEncoder):
        return alone(queries, row)
    values = encoder.encode([texts[row]], "query").values
    one = values if isinstance(values, Sparse | MultiVector) else Dense(values)
    if encoder.similarity == "cosine":
        unit(of_kind(one, Dense).values)
    return one


def _answering(
    encoder: Encoder, collection: Searchable, queries: Embeddings, depth: int
) -> Callable[[int], Run]:
    """A function that encodes one query and searches with it."""
    texts = collection.data.queries.texts
    depth = min(depth, len(collection.data.corpus))

    def answer(row: int) -> Run:
        one = one_query(encoder, queries, texts, row)
        return collection.searcher.search(one, depth, silent).run

    return answer
