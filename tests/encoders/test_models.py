"""Weights in memory: how many there are, which go first, and that encoders share them."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.data import Purpose
from harness.encoders import ENCODERS
from harness.encoders.models import MODELS, Models
from harness.errors import InputError


class Weights:
    """Somebody's weights, which refer to themselves as modules of torch do."""

    def __init__(self, name: str) -> None:
        self.name, self.own = name, self


@pytest.fixture
def loading() -> Callable[[str], Callable[[], Weights]]:
    """Make functions that load; `alive` of the fixture says how many there were at the time."""

    def loads(name: str) -> Callable[[], Weights]:
        def load() -> Weights:
            made = Weights(name)
            gc.collect()
            alive.add(made)
            seen.append((name, sorted(one.name for one in alive)))
            return made

        return load

    alive: weakref.WeakSet[Weights] = weakref.WeakSet()
    seen: list[tuple[str, list[str]]] = []
    vars(loads)["seen"] = seen
    return loads


def ask(models: Models, loading: Callable[[str], Callable[[], Weights]], names: str) -> None:
    for name in names:
        assert models.get(name, loading(name)).name == name


def test_one_model_at_a_time_and_the_old_one_goes_before_the_next_is_loaded(loading):
    models = Models()
    ask(models, loading, "aabba")
    assert vars(loading)["seen"] == [("a", ["a"]), ("b", ["b"]), ("a", ["a"])]
    assert (len(models), "a" in models, "b" in models) == (1, True, False)


def test_what_was_not_used_for_longest_goes_first(loading):
    models = Models(limit=2)
    ask(models, loading, "abac")
    assert ("a" in models, "b" in models, "c" in models) == (True, False, True)
    ask(models, loading, "ca")
    assert [name for name, _ in vars(loading)["seen"]] == ["a", "b", "c"]


def test_a_limit_may_be_set_while_models_are_held(loading):
    models = Models(limit=3)
    ask(models, loading, "abc")
    models.limit = 1
    assert (len(models), "c" in models) == (1, True)
    with pytest.raises(InputError, match="limit=0: expected at least 1"):
        models.limit = 0
    assert models.limit == 1
    models.clear()
    assert len(models) == 0


def test_nothing_goes_within_a_scope_and_the_outermost_trims(loading):
    models = Models()
    with models.scope():
        ask(models, loading, "ab")
        with models.scope():
            ask(models, loading, "abc")
        assert len(models) == 3
        ask(models, loading, "ab")
    assert (len(models), "b" in models) == (1, True)
    assert [name for name, _ in vars(loading)["seen"]] == ["a", "b", "c"]


def test_a_scope_that_fails_ends_too(loading):
    models = Models()
    with models.scope():
        ask(models, loading, "ab")
    with pytest.raises(AssertionError), models.scope():
        ask(models, lambda name: lambda: Weights("other"), "x")
    ask(models, loading, "c")
    assert len(models) == 1


def test_what_does_not_load_is_not_held():
    models = Models()

    def broken() -> Weights:
        raise InputError("no such model")

    with pytest.raises(InputError, match="no such model"):
        models.get("a", broken)
    assert models.get("a", lambda: Weights("a")).name == "a"


def test_threads_that_ask_at_the_same_time_get_one_model():
    models, made = Models(), list[Weights]()

    def load() -> Weights:
        time.sleep(0.05)
        made.append(Weights("a"))
        return made[-1]

    found = list[Weights]()
    threads = [
        threading.Thread(target=lambda: found.append(models.get("a", load))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(found) == 8
    assert set(map(id, found)) == {id(made[0])}


# --- encoders -----------------------------------------------------------------------------------


@pytest.fixture
def none_held() -> Iterator[None]:
    MODELS.clear()
    yield
    MODELS.clear()


@pytest.mark.usefixtures("none_held")
def test_prompts_dimensions_and_batches_of_one_model_are_one_set_of_weights(tiny: Path):
    specs = [f"st:{tiny},query_prompt={prompt}" for prompt in ("a", "b", "c", "d")]
    specs += [f"st:{tiny},dim=8", f"st:{tiny},batch_size=2", f"{tiny}/"]
    encoders = [ENCODERS.create(ENCODERS.infer(spec, "st")) for spec in specs]
    with MODELS.scope():
        for encoder in encoders:
            encoder.encode(["some text"], "query")
        assert len(MODELS) == 1
    assert len({id(encoder.model) for encoder in encoders}) == 1
    told = encoders[0].for_task(Purpose(instructions={"query": "find"}))
    assert told.model is encoders[0].model


@pytest.mark.usefixtures("none_held")
def test_what_computes_otherwise_is_another_set_of_weights(tiny: Path):
    options = ["", ",dtype=bfloat16", ",max_length=8", ",device=cpu"]
    with MODELS.scope():
        for option in options:
            ENCODERS.create(f"st:{tiny}{option}").load()
        for seed in (0, 1):
            ENCODERS.create(f"colbert:{tiny},seed={seed}").load()
        assert len(MODELS) == 6
    assert len(MODELS) == 1


@pytest.mark.usefixtures("none_held")
def test_a_copy_of_a_folder_is_the_same_model(tiny: Path, tmp_path: Path):
    import shutil

    copy = shutil.copytree(tiny, tmp_path / "copy")
    one, other = (ENCODERS.create(f"st:{folder}") for folder in (tiny, copy))
    assert one.model is other.model
