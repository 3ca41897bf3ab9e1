"""A search of your own as a system: a function of texts and k, or an object with search(texts, k).

    @harness.system("titles")
    def titles(texts, k):
        return [[(hit.id, hit.score) for hit in engine.search(text, limit=k)] for text in texts]

Each query's results are (id, score) pairs, ids alone with the best first, or a dict of scores by
id; or all are two sequences, ids and scores [q, k]. A class may have parameters, which specs then
set, and `index(ids, texts)`, which is given the documents first. `fingerprint`, text or JSON that
changes whenever results do, tells one version from another. `timeout` (seconds that a batch may
take, 0 for any, in the calling thread) and `batch_size` are parameters of every such system.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Thread
from typing import Any, TypeVar, overload

from harness.data import Retrieval
from harness.encoders import OWN, Encoder, user_model
from harness.endpoints.usage import Usage
from harness.errors import HarnessError, InputError, blame
from harness.parameters import check_range, read_hints, read_signature
from harness.progress import Progress
from harness.registry import decorate
from harness.spec import Spec
from harness.systems import RETRIEVERS, Retriever, hits
from harness.systems.external import UNKNOWN, External
from harness.systems.hits import Hits
from harness.wording import count

Made = TypeVar("Made", bound=Callable[..., object])
Answer = TypeVar("Answer")
Parameter = inspect.Parameter

TIMEOUT_S, BATCH = 60.0, 32


@overload
def register(name: str) -> Callable[[Made], Made]: ...
@overload
def register(name: Made) -> Made: ...
def register(name: str | Made | None = None) -> Any:
    """Register a search of your own as a system that specs can name.

    Args:
        name: What specs call it; without one (`@harness.system` alone), the function's own name.

    Returns:
        A decorator of a function search(texts, k), or of a class with search(texts, k).

    Raises:
        InputError: The name is taken, or cannot be written in a spec.
    """
    return decorate(name, _register, "system")


def _register(name: str, made: Made) -> Made:
    """Register what was decorated."""
    is_class, is_code = inspect.isclass(made), inspect.isclass(made) or inspect.isroutine(made)
    if not is_code and not searches(made):
        raise InputError(
            f"system {name!r}: expected a function of texts and k, or a class or object with "
            "search(texts, k)"
        )
    signature = read_signature(made, f"system {name!r}") if is_code else inspect.Signature()
    taken = list(signature.parameters.values())
    own = [
        each
        for each in (taken if is_class else taken[2:])
        if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    hints = read_hints(made, name) if is_code else {}

    @lru_cache(maxsize=1)
    def model(**parameters: Any) -> object:
        return made(**parameters) if is_class else partial(made, **parameters)

    def factory(timeout: float = TIMEOUT_S, batch_size: int = BATCH, **given: Any) -> Retriever:
        asked = {"timeout": timeout, "batch_size": batch_size}
        taken = {each.name: asked[each.name] for each in own if each.name in asked}
        found = model(**given, **taken) if is_class or given else made
        return adapt(found, name, given, timeout=timeout, batch_size=batch_size)

    ours = {"timeout": (float, TIMEOUT_S), "batch_size": (int, BATCH)}
    held = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own if each.name not in ours]
    held += [
        Parameter(each, Parameter.KEYWORD_ONLY, default=default)
        for each, (_, default) in ours.items()
    ]
    vars(factory)["__signature__"] = inspect.Signature(held)  # what a registry reads of a factory
    factory.__annotations__ = {**hints, **{each: kind for each, (kind, _) in ours.items()}}
    factory.__doc__ = inspect.getdoc(made)
    RETRIEVERS.register(name, of=made)(factory)
    return made


def searches(model: object) -> bool:
    """Whether something is a search: search(texts, k), or a function that takes `k`."""
    method = getattr(model, "search", None)
    encodes = callable(getattr(model, "encode", None))
    if callable(method):
        return not encodes or _takes_k(method)
    return callable(model) and not encodes and not inspect.isclass(model) and _takes_k(model)


def adopt(system: object) -> tuple[str, Encoder | Retriever]:
    """A model or a search of one's own, after its spec. Raises InputError for what is neither."""
    if isinstance(system, External) or searches(system):
        found = system if isinstance(system, External) else adapt(system)
        return str(Spec(OWN, found.name)), found
    encoder = user_model.adapt(system)
    return user_model.own_spec(system, encoder), encoder


def adapt(
    model: Any,
    name: str = "",
    parameters: Mapping[str, object] | None = None,
    *,
    timeout: float = TIMEOUT_S,
    batch_size: int = BATCH,
) -> OwnSearch:
    """A system of any object with search(texts, k), or function of texts and k.

    Args:
        model: What searches.
        name: In place of its own.
        parameters: What it was made with, for its fingerprint.
        timeout: Seconds that one batch may take; 0 for any, in the calling thread.
        batch_size: Queries that it is given at a time.

    Raises:
        InputError: A value is out of range, or its fingerprint cannot be written as JSON.
    """
    label = name or user_model.label_of(model)
    check_range(label, timeout=(timeout, 0, 86_400), batch_size=(batch_size, 1, 1 << 20))
    code = model.func if isinstance(model, partial) else model
    about = {"system": label, **user_model.identify(code, label, parameters or {})}
    known = "fingerprint" in about
    return OwnSearch(label, {"fingerprint": UNKNOWN, **about}, known, model, timeout, batch_size)


def _takes_k(call: Callable[..., object]) -> bool:
    with suppress(TypeError, ValueError):
        return "k" in inspect.signature(call).parameters
    return False


@dataclass(frozen=True)
class OwnSearch(External):
    """A function or an object that searches.

    Attributes:
        model: What was handed over.
        timeout: Seconds that one batch may take; 0 for any.
        batch_size: Queries that it is given at a time.
    """

    model: Any
    timeout: float
    batch_size: int

    def prepare(self, data: Retrieval) -> None:
        """Give the documents to a model that takes them by index(ids, texts)."""
        index = getattr(self.model, "index", None)
        if not callable(index):
            return
        if data.corpus.parents is not None:
            raise InputError(f"{self.name} indexes documents, and this task has passages of them")
        with blame(
            f"{self.name} fails to index {count(len(data.corpus), 'document')}", HarnessError
        ):
            index(list(data.corpus.ids), list(data.corpus.texts))

    def answers(
        self, texts: Sequence[str], k: int, progress: Progress
    ) -> Iterator[tuple[slice, list[Hits], Usage]]:
        """Ask for one batch after another."""
        for low in range(0, len(texts), self.batch_size):
            part = list(texts[low : low + self.batch_size])
            yield slice(low, low + len(part)), self._call(part, k), {}

    def _call(self, texts: list[str], k: int) -> list[Hits]:
        """What it returns. Raises HarnessError where it fails or gives no answer in time."""
        search: Callable[[list[str], int], object] = getattr(self.model, "search", self.model)

        def call() -> list[Hits]:  # what it returns may be made when it is read
            return hits.read(search(texts, k), texts, self.name)

        where = f"{count(len(texts), 'query')}, the first {texts[0][:40]!r}"
        try:
            with blame(f"{self.name} fails on {where}", HarnessError):
                return call_in_time(call, self.timeout)
        except TimeLimitError:
            raise HarnessError(
                f"{self.name} gave no answer within {self.timeout:g} s for {where}: "
                "set timeout=SECONDS, or a smaller batch_size"
            ) from None


class TimeLimitError(HarnessError):
    """A call that took longer than it may."""


def call_in_time(call: Callable[[], Answer], seconds: float) -> Answer:
    """What a call returns, waited for in another thread; 0 seconds: for any time, in this one.

    A thread that hangs cannot be stopped: it is left behind, and ends with the process.

    Raises:
        TimeLimitError: It has not returned in time.
    """
    if not seconds:
        return call()
    future: Future[Answer] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)

    Thread(target=work, daemon=True, name="search").start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError:
        if future.done():  # the call's own
            raise
        raise TimeLimitError from None
