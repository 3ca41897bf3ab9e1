"""Formulas of capacity: bound, cubic, exact vectors, free vectors, what is kept."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import combinations
from math import comb, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import critical_numbers, free_vectors, moment_curve, relevance
from harness.analysis.critical_numbers import Trials, critical_n, optimise_ascending
from harness.analysis.dimension_bounds import TABLE_6, fit, margin_bound
from harness.analysis.free_vectors import PAPER, Protocol, Trial, optimise
from harness.analysis.moment_curve import oracle
from harness.analysis.relevance import Relevance, subsets, take_judged
from harness.data import Corpus, Qrels, Queries
from harness.errors import HarnessError, InputError
from harness.tasks import catalog

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
SHORT = Protocol(iterations=50)

# Weller et al. 2025, Table 1: documents, and dimensions at k = 2, 10, 100, 1000 for gamma 0.1
TABLE_1 = {
    10**2: [4, 13],
    10**3: [6, 23, 135],
    10**4: [8, 33, 233, 1354],
    10**5: [10, 42, 329, 2334],
    10**6: [12, 52, 425, 3296],
    10**7: [14, 61, 521, 4257],
    10**8: [16, 71, 617, 5217],
    10**9: [17, 81, 713, 6177],
    10**10: [19, 90, 809, 7137],
    10**11: [21, 100, 905, 8098],
}


def test_the_margin_bound_of_the_papers_table():
    found = {
        n: [margin_bound(n, k, 0.1) for k in (2, 10, 100, 1000)[: len(row)]]
        for n, row in TABLE_1.items()
    }
    assert found == TABLE_1
    assert sum(map(len, TABLE_1.values())) == 37
    assert margin_bound(100, 100, 0.1) is None  # "trivial" in the table
    assert margin_bound(1000, 1000, 0.1) is None


def test_a_bound_that_is_a_whole_number_is_not_rounded_up():
    assert margin_bound(11, 1, 0.1) == 1  # ln 11 / ln 11
    assert margin_bound(121, 1, 0.1) == 2
    assert margin_bound(1024, 1, 1.0) == 10  # ln 2^10 / ln 2
    assert margin_bound(1025, 1, 1.0) == 11


@QUICK
@given(st.integers(2, 400), st.data(), st.floats(0.001, 1))
def test_the_margin_bound_by_exact_binomials(n, data, gamma):
    k = data.draw(st.integers(1, n - 1))
    least = log(comb(n, k)) / log(1 + 1 / gamma)
    bound = margin_bound(n, k, gamma)
    assert bound - 1 - 1e-6 < least < bound + 1e-6


@pytest.mark.parametrize(
    ("n", "k", "gamma", "line"),
    [
        (4, 5, 0.1, "k=5 of n=4 documents: expected 1 <= k <= n"),
        (4, 0, 0.1, "k=0 of n=4 documents"),
        (4, 2, 0.0, "gamma=0: expected a margin above 0, at most 1"),
        (4, 2, 1.5, "gamma=1.5"),
        (4, 2, float("nan"), "gamma=nan"),
    ],
)
def test_a_bound_refuses_what_it_is_not_defined_for(n, k, gamma, line):
    with pytest.raises(InputError, match=line):
        margin_bound(n, k, gamma)


def test_the_curve_of_the_papers_table():
    assert list(TABLE_6) == list(range(4, 46))
    assert [TABLE_6[d] for d in (4, 5, 6, 10, 12, 20, 30, 40, 45)] == [
        10, 14, 19, 36, 47, 120, 261, 460, 626
    ]  # fmt: skip
    curve = fit(TABLE_6)
    assert curve.coefficients == pytest.approx((-10.53217, 4.030936, 0.05204652, 0.003675585), 1e-6)
    assert curve.r2 == pytest.approx(0.998576, abs=5e-7)
    published = {512: 509_026, 768: 1_698_768, 1024: 4_005_322}
    published |= {3072: 107_062_548, 4096: 253_473_998}
    assert {d: round(curve.at(d)) for d in published} == published


def test_a_cubic_is_found_again():
    curve = fit({d: 1 + 2 * d + 3 * d**2 + 4 * d**3 for d in range(2, 8)})
    assert curve.coefficients == pytest.approx((1, 2, 3, 4))
    assert curve.r2 == pytest.approx(1)
    assert curve.at(10) == pytest.approx(4321)


def test_a_curve_needs_five_points():
    with pytest.raises(InputError, match="through 4 critical numbers: expected 5 or more"):
        fit({4: 10, 5: 14, 6: 19, 7: 24})


def test_subsets_are_all_of_them():
    found = subsets(5, 3)
    assert (found.label, found.queries, found.documents) == ("n5-k3", 10, 5)
    assert found.doc.reshape(10, 3).tolist() == list(map(list, combinations(range(5), 3)))
    assert found.query.tolist() == [i for i in range(10) for _ in range(3)]
    assert found.sizes.tolist() == [3] * 10


@pytest.mark.parametrize(("n", "k"), [(3, 3), (3, 0), (2, 5)])
def test_subsets_that_say_nothing_are_refused(n, k):
    with pytest.raises(InputError, match=f"k={k} out of n={n} documents: expected 1 <= k < n"):
        subsets(n, k)


def test_subsets_that_do_not_fit_are_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(relevance, "available_memory", lambda: 10**9)
    assert subsets(100, 3).queries == 161_700
    line = "the 166,616,670,000 subsets of k=3 out of n=10000 documents need 7,997.6 GB of memory"
    with pytest.raises(InputError, match=f"{line}, 1.0 GB are free: choose fewer documents"):
        subsets(10_000, 3)


def collection(judgments: dict[str, dict[str, float]]) -> Qrels:
    corpus = Corpus.of(list("abcdef"), [""] * 6)
    queries = Queries(list(judgments), [""] * len(judgments))
    rows = [(q, doc, gain) for q, row in judgments.items() for doc, gain in row.items()]
    return Qrels.of(rows, queries, corpus)


def test_relevance_of_a_task_is_what_is_judged_relevant_and_known():
    qrels = collection(
        {"q1": {"f": 1, "a": 0}, "q2": {"b": -1}, "q3": {"c": 2, "f": 0.5, "missing": 1}, "q4": {}}
    )
    found = take_judged(qrels)
    assert found.query.tolist() == [0, 1, 1]  # q1, q3
    assert found.doc.tolist() == [1, 0, 1]  # f; c, f
    assert (found.queries, found.documents) == (2, 2)
    assert found.sizes.tolist() == [1, 2]


def test_a_label_names_the_matrix():
    one = take_judged(collection({"q1": {"a": 1}, "q2": {"b": 1}}))
    same = take_judged(collection({"x": {"c": 3, "d": 0}, "y": {"d": 1}}))
    other = take_judged(collection({"q1": {"b": 1}, "q2": {"a": 1}}))
    assert one.label == same.label != other.label


def test_a_task_without_anything_relevant_is_refused():
    with pytest.raises(InputError, match="no document of the task is relevant to any query"):
        take_judged(collection({"q1": {"a": 0}}))


def limit() -> Relevance:
    """The relevance of LIMIT: the first 1000 pairs of 46 documents."""
    whole = subsets(46, 2)
    return Relevance("limit", whole.query[:2000], whole.doc[:2000])


@pytest.mark.parametrize(
    ("precision", "unit", "dim", "recall", "margin"),
    [
        ("float64", False, 4, 1.0, 3.9e-6),
        ("float32", False, 4, 1.0, 3.7e-6),
        ("float16", False, 4, 0.881, -2.0e-3),
        ("bfloat16", False, 4, 0.6735, -2.3e-2),
        ("float64", True, 5, 1.0, 2.6e-7),
        ("float32", True, 5, 1.0, 2.4e-7),
    ],
)
def test_exact_vectors_return_limit_until_numbers_are_too_coarse(
    precision, unit, dim, recall, margin
):
    found = oracle(limit(), precision, unit=unit)
    assert (found.precision, found.unit, found.dim) == (precision, unit, dim)
    assert found.recall == pytest.approx(recall, abs=1e-9)
    assert found.margin == pytest.approx(margin, rel=0.03)


def test_exact_vectors_by_hand():
    # t = -1, 0, 1; the query for t is 2tx - x^2, and neighbours differ by 1
    assert oracle(subsets(3, 1)).margin == pytest.approx(1)
    # lengths: documents 2^0.5 on the sphere; the queries of -1 and 1 have 5^0.5
    assert oracle(subsets(3, 1), unit=True).margin == pytest.approx(0.1**0.5)


@QUICK
@given(st.integers(2, 9), st.data())
def test_exact_vectors_return_any_relevance(n, data):
    rows = data.draw(st.lists(st.sets(st.integers(0, n - 1), min_size=1, max_size=3), min_size=1))
    query = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    doc = np.array([doc for row in rows for doc in sorted(row)])
    # `documents` counts to the last relevant one, so that those before it may be irrelevant
    found = oracle(Relevance("any", query, doc), unit=data.draw(st.booleans()))
    assert found.recall == 1
    assert found.margin is None or found.margin > 0


def test_numbers_that_overflow_have_no_margin():
    end = Relevance("end", np.zeros(12, np.int64), np.arange(188, 200))  # C(24, 12) > 65504
    assert oracle(end, "float16").margin is None
    assert oracle(end, "float64").recall < 1  # gaps of 1e-40 beside coefficients of 1e6


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision 'fp8': expected one of float64, float32"):
        oracle(subsets(3, 1), "fp8")


@given(st.floats(width=32, allow_nan=False, min_value=-(2.0**99), max_value=2.0**99))
@QUICK
def test_bfloat16_is_rounded_as_torch_rounds_it(value):
    expected = torch.tensor([value], dtype=torch.float32).bfloat16().double().numpy()
    assert moment_curve._round(np.array([value]), "bfloat16").tolist() == expected.tolist()


def by_autograd(given: Relevance, dim: int, seed: int, steps: int) -> float:
    """The loss of the last step, by torch's own gradient and plain Adam."""
    m, n = given.queries, given.documents
    drawn = np.random.default_rng(seed).standard_normal((m + n, dim), np.float32)
    vectors = torch.nn.functional.normalize(torch.from_numpy(drawn)).requires_grad_()
    adam = torch.optim.Adam([vectors], lr=0.01)
    for _ in range(steps):
        adam.zero_grad()
        logits = vectors[:m] @ vectors[m:].T / 0.1
        loss = -logits.log_softmax(1)[given.query, given.doc].mean()
        loss.backward()
        adam.step()
        with torch.no_grad():
            vectors /= vectors.norm(dim=1, keepdim=True)
    return loss.item()


@pytest.mark.parametrize(
    "given",
    [subsets(6, 2), take_judged(collection({"q": {"a": 1}, "r": {"a": 1, "b": 1, "c": 1}}))],
)
def test_an_optimisation_takes_the_steps_of_the_protocol(given):
    made = optimise(given, 2, seed=3, protocol=Protocol(iterations=40, every=100))
    assert made.iterations == 40
    assert made.accuracy == 0  # never looked at
    assert made.loss == pytest.approx(by_autograd(given, 2, 3, 40), rel=1e-4)
    assert (made.relevance, made.queries, made.documents) == (
        given.label, given.queries, given.documents
    )  # fmt: skip
    assert (made.dim, made.seed) == (2, 3)


@pytest.mark.parametrize(("dim", "published"), [(4, 10), (5, 14), (6, 19)])
def test_the_critical_number_is_within_one_of_the_paper(dim, published):
    below, above = subsets(published - 1, 2), subsets(published + 2, 2)
    draws = (optimise(below, dim, seed=42 + i, device="cpu") for i in range(3))
    best = next((trial for trial in draws if trial.accuracy == 1), None)
    assert best is not None
    assert 0 < best.margin < 0.1
    assert best.loss > log(2)  # its minimum for k = 2
    assert best.iterations % 50 == 0
    broken = optimise(above, dim, device="cpu", protocol=Protocol(iterations=1000))
    assert 0.8 < broken.accuracy < 1
    assert broken.margin < 0


def test_free_vectors_of_a_tasks_judgments():
    # a chain: each query shares a document with the next
    chain = take_judged(
        collection({f"q{i}": {"abcdef"[i]: 1, "abcdef"[i + 1]: 1} for i in range(5)})
    )
    assert optimise(chain, 3).accuracy == 1
    line = optimise(chain, 1, protocol=Protocol(patience=50))
    assert line.accuracy < 1  # vectors of 1 dimension are -1 or 1, and ties do not count
    assert line.margin <= 0


def test_an_optimisation_repeats_itself_whatever_the_threads():
    before = torch.get_num_threads()
    one = optimise(subsets(9, 2), 3, protocol=SHORT)
    torch.set_num_threads(2)
    try:
        two = optimise(subsets(9, 2), 3, protocol=SHORT)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert replace(one, seconds=0) == replace(two, seconds=0)
    assert optimise(subsets(9, 2), 3, seed=43, protocol=SHORT).loss != one.loss


def test_an_optimisation_ends_when_the_loss_stands_still():
    # 1e9 is never gained after the first iteration: 300 more have passed when 350 are looked at
    patient = optimise(subsets(4, 2), 2, protocol=Protocol(patience=300, tolerance=1e9))
    assert patient.iterations == 350
    assert patient.accuracy < 1


def test_progress_is_told():
    told = []
    optimise(
        subsets(8, 2), 2, protocol=Protocol(iterations=120), progress=lambda *a: told.append(a)
    )
    stage = "free vectors, n8-k2, d=2, seed 42"
    assert told == [(stage, 50, 120, "iterations"), (stage, 100, 120, "iterations")]


def _find_no_room(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_what_cannot_be_optimised_is_refused(monkeypatch):
    for options in ({"dim": 0}, {"dim": 2, "seed": -1}):
        with pytest.raises(InputError, match="expected a dimension of 1 or more, a seed of 0"):
            optimise(subsets(4, 2), **options)
    for device in ("tpu", "cuda:99", "meta", ""):
        with pytest.raises(InputError, match=f"device '{device}' is not there: choose auto or cpu"):
            optimise(subsets(4, 2), 2, device=device)
    with monkeypatch.context() as patch:
        patch.setattr(free_vectors.accelerators, "torch_count", lambda: 2)
        with pytest.raises(InputError, match=r"choose auto or cpu, or cuda:0 or cuda:1$"):
            optimise(subsets(4, 2), 2, device="tpu")
    with monkeypatch.context() as patch:
        patch.setattr(free_vectors._Free, "draw", _find_no_room)
        with pytest.raises(InputError) as caught:
            optimise(subsets(4, 2), 2)
    assert str(caught.value) == (
        "free vectors, device=auto: out of memory (2.15 GB more were asked for): choose fewer "
        "documents, or device=cpu"
    )
    monkeypatch.setattr(free_vectors, "available_memory", lambda: 900)
    line = r"free vectors of 6 queries and 4 documents in 2 dimensions need 0.0 GB of memory"
    with pytest.raises(InputError, match=line):
        optimise(subsets(4, 2), 2, device="cpu")


def outcome(given: Relevance, dim: int, seed: int, accuracy: float, protocol=PAPER) -> Trial:
    """A trial as if it had been made."""
    return Trial(
        relevance=given.label, queries=given.queries, documents=given.documents, dim=dim, seed=seed,
        protocol=protocol, accuracy=accuracy, margin=accuracy - 1, loss=1.0, iterations=50,
        seconds=2.0, device="cpu", torch="0",
    )  # fmt: skip


class Made:
    """Stands for `optimise`: says which seeds reach how many documents, and counts the calls."""

    def __init__(self, reached: dict[int, int]) -> None:
        self.reached = reached
        self.calls: Counter[tuple[str, int, int]] = Counter()

    def __call__(self, given, dim, *, seed, protocol, device, progress) -> Trial:
        self.calls[given.label, dim, seed] += 1
        accuracy = 1.0 if given.documents <= self.reached[seed] else 0.5
        return outcome(given, dim, seed, accuracy, protocol)


def test_a_trial_is_made_once_and_kept(tmp_path, monkeypatch):
    made = Made({42: 3, 43: 4, 44: 9})
    monkeypatch.setattr(critical_numbers, "optimise", made)
    folder = tmp_path / "new" / "trials"
    first = Trials(folder).draws(subsets(4, 2), 3)
    assert [(trial.seed, trial.accuracy) for trial in first] == [(42, 0.5), (43, 1.0)]
    again = Trials(folder)
    assert again.draws(subsets(4, 2), 3) == first
    assert again.notes == []
    assert made.calls == {("n4-k2", 3, 42): 1, ("n4-k2", 3, 43): 1}
    Trials(folder).draws(subsets(5, 2), 3)  # other documents, other protocol: other trials
    Trials(folder, attempts=1, protocol=SHORT).draws(subsets(4, 2), 3)
    assert sum(made.calls.values()) == 6
    assert len(list(folder.iterdir())) == 6
    assert not [path for path in folder.iterdir() if path.suffix != ".json"]


def test_a_search_that_was_stopped_goes_on(tmp_path, monkeypatch):
    made = Made({42: 7})

    def stopped(given, dim, **options) -> Trial:
        if given.documents == 9:
            raise KeyboardInterrupt
        return made(given, dim, **options)

    monkeypatch.setattr(critical_numbers, "optimise", stopped)
    with pytest.raises(KeyboardInterrupt):
        critical_n(3, 2, Trials(tmp_path, attempts=1))
    before = sum(made.calls.values())
    monkeypatch.setattr(critical_numbers, "optimise", made)
    found = critical_n(3, 2, Trials(tmp_path, attempts=1))
    assert (found.reached, before) == (7, 2)  # 6 and 12, then 9
    assert set(made.calls.values()) == {1}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"accuracy": 1.0}', "\xff"])
def test_a_file_that_is_no_trial_is_set_aside(tmp_path, monkeypatch, content):
    made = Made({42: 9})
    monkeypatch.setattr(critical_numbers, "optimise", made)
    kept = Trials(tmp_path).trial(subsets(4, 2), 3, 42)
    (path,) = tmp_path.iterdir()
    path.write_text(content, "latin-1")
    trials = Trials(tmp_path)
    assert trials.trial(subsets(4, 2), 3, 42) == kept
    aside = path.with_name(f"{path.name}.unreadable")
    assert aside.read_text("latin-1") == content
    (note,) = trials.notes
    assert note.startswith(f"{path.name} is not the trial that it is named for (")
    assert note.endswith(f"set aside as {aside.name}, the trial was made again")
    assert sum(made.calls.values()) == 2


def test_a_file_that_holds_another_trial_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(critical_numbers, "optimise", Made({42: 9}))
    trials = Trials(tmp_path)
    trials.trial(subsets(4, 2), 3, 42)
    (path,) = tmp_path.iterdir()
    other = outcome(subsets(4, 2), 2, 42, 1.0)
    path.write_text(json.dumps(asdict(other)))
    assert trials.trial(subsets(4, 2), 3, 42).dim == 3
    assert "(it holds another trial)" in trials.notes[0]


def test_a_folder_that_cannot_be_used_is_an_error_of_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(critical_numbers, "optimise", Made({42: 9}))
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"cannot be used: .*; choose another folder"):
        Trials(tmp_path / "file").trial(subsets(4, 2), 3, 42)


@QUICK
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 30), st.integers(4, 24))
def test_the_search_ends_at_the_last_number_that_is_reached(dim, k, reached, most):
    class Kept(Trials):
        def trial(self, given, dim, seed):
            return outcome(given, dim, seed, float(given.documents <= reached))

    found = critical_n(dim, k, Kept(None, attempts=2), most=most)
    assert found.reached == min(max(reached, k), most)
    assert found.broken == (None if reached >= most else max(reached, k) + 1)
    numbers = [trial.documents for trial in found.trials]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) <= 10
    assert found.seconds == 2.0 * len(found.trials)


def test_a_number_is_reached_when_one_draw_reaches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(critical_numbers, "optimise", Made({42: 5, 43: 8, 44: 7}))
    found = critical_n(3, 2, Trials(tmp_path))
    assert (found.reached, found.broken) == (8, 9)
    assert critical_n(3, 2, Trials(tmp_path, attempts=1)).reached == 5


@pytest.mark.parametrize(("dim", "k"), [(0, 2), (3, 0), (3, 1024)])
def test_a_search_that_makes_no_sense_is_refused(tmp_path, dim, k):
    with pytest.raises(InputError, match=f"dim={dim}, k={k}: expected a dimension of 1 or more"):
        critical_n(dim, k, Trials(tmp_path))


def test_draws_end_where_all_is_returned_or_the_model_has_no_more_dimensions(tmp_path, monkeypatch):
    def at_eight(given, dim, *, seed, **options) -> Trial:
        return outcome(given, dim, seed, float(dim >= 8))

    monkeypatch.setattr(critical_numbers, "optimise", at_eight)
    trials = Trials(tmp_path)
    assert [trial.dim for trial in optimise_ascending(subsets(4, 2), 384, trials)] == [2, 4, 6, 8]
    assert [trial.dim for trial in optimise_ascending(subsets(4, 2), 5, trials)] == [2, 4]
    assert [trial.dim for trial in optimise_ascending(subsets(4, 2), 1, trials)] == [2]


def test_limit_small_fits_into_twelve_dimensions():
    """The claim of the paper for its small set, and of papers that rerun it."""
    data = catalog.task("limit-small").load()
    given = take_judged(data.qrels)
    assert (given.queries, given.documents) == (1000, 46)
    assert optimise(given, 12, device="cpu").accuracy == 1
