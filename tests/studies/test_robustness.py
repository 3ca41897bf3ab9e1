"""Robustness: texts changed by hand, effects worked out by hand, exact zeros, what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import Candidates
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.frames import Frame
from harness.session import Session
from harness.stats import Estimate
from harness.store import Store
from harness.studies import perturb
from harness.studies.perturb import KNOWN
from harness.studies.robustness import EFFECTS, Robustness, drops, headline, spread
from harness.tasks import catalog
from tests.fakes import Counting, beir, with_data
from tests.shared import shared

SECOND = 1 / log2(3)  # nDCG of the only relevant document at rank 2
TASK = "limit,docs=40,queries=30,k=3,attributes=5"
MODEL = "hashing,dim=64"
WORD = st.text(st.characters(categories=["L"]), min_size=1, max_size=12)


def study(systems, task, *, store=None, seed=0, **options):
    return Robustness(**options).run(Session(store or Store(cache_root()), seed), systems, task)


@pytest.fixture
def vectors(monkeypatch, tmp_path):
    """Study a collection whose vectors are given by text."""

    def run(rows, documents, queries, judged, *, suffix="", **options):
        class Given(Counting):
            def vector(self, text, role):
                return np.array(rows[text], np.float32)

        monkeypatch.setattr(ENCODERS, "create", lambda spec: Given(name=str(spec)))
        task = beir(tmp_path / "t", documents, queries, judged) + suffix
        return study(["minilm"], task, store=Store(tmp_path / "s"), **options)

    return run


def effects(found, system=0):
    """Rows of one system by perturbation."""
    rows = found["effects"].where("system", found["systems"]["system"][system]).records()
    return {row["perturbation"]: row for row in rows}


def spreads(row):
    return row["variance"], row["normalised variance"], row["worst tenth"]


def moved(row):
    return row["worse"], row["better"], row["overlap"]


def test_keys_that_touch():
    assert perturb.NEIGHBOURS["s"] == "weadzx"
    assert perturb.NEIGHBOURS["q"] == "wa"
    assert perturb.NEIGHBOURS["p"] == "ol"
    assert all(a in perturb.NEIGHBOURS[b] for a, near in perturb.NEIGHBOURS.items() for b in near)


@pytest.mark.parametrize(
    ("word", "kind", "place", "key", "expected"),
    [
        ("plan", 0, 0.4, 0.0, "pkan"),  # the second letter; l lies beside o, p and k: here k
        ("plan", 1, 0.4, 0.0, "paln"),
        ("plan", 2, 0.4, 0.0, "pan"),
        ("plan", 3, 0.4, 0.0, "plkan"),
        ("PLAN", 0, 0.4, 0.0, "PKAN"),
        ("plan", 2, 0.999, 0.0, "pln"),  # the last letter stays
        ("book", 1, 0.4, 0.0, "bok"),  # equal letters cannot be swapped
        ("žába", 0, 0.0, 0.0, "ába"),  # no key
        ("žába", 3, 0.0, 0.0, "ába"),
    ],
)
def test_errors_by_hand(word, kind, place, key, expected, monkeypatch):
    monkeypatch.setitem(perturb.NEIGHBOURS, "l", "kop")
    drawn = iter([0.0, (kind + 0.5) / 4, place, key])

    class Drawn:
        def random(self, size):
            return np.array([next(drawn) for _ in range(size)])

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Drawn())
    assert perturb.typos([word], 1.0, 0) == [expected]


@settings(max_examples=40)
@given(st.lists(WORD, max_size=6), st.integers(0, 9))
def test_errors_of_a_low_share_are_among_those_of_a_high_one(words, seed):
    text = [" ".join(words)]
    (few,), (many,) = (perturb.typos(text, share, seed) for share in (0.3, 1.0))
    for word, some, every in zip(words, few.split(), many.split(), strict=True):
        assert some in (word, every)
        assert (word == every) == (len(word) < 4)
        assert abs(len(word) - len(every)) <= 1


def test_a_share_of_words_is_changed():
    words = ["harness"] * 4000 + ["cat"] * 1000
    changed = perturb.typos(words, 0.3, 1)
    assert changed[4000:] == ["cat"] * 1000
    hit = [word for word in changed[:4000] if word != "harness"]
    assert len(hit) / 4000 == pytest.approx(0.3, abs=0.03)  # four standard errors
    assert [sum(len(w) == n for w in hit) / len(hit) for n in (6, 7, 8)] == pytest.approx(
        [0.31, 0.46, 0.22], abs=0.06
    )  # of 6 places, one of ss cannot be swapped: 1/4 + 1/24, 1/2 - 1/24, 1/4


def test_word_order_and_sentences():
    (text,) = perturb.shuffle(["a b c d e f g h"], 0)
    assert sorted(text) == sorted("a b c d e f g h")
    assert text != "a b c d e f g h"
    texts = ["One. Two!", "Three?"]
    after = perturb.with_sentences(texts, 3, first=False)
    assert after[0] == "One. Two! Three?"
    assert after[1] in ("Three? One.", "Three? Two!")
    strange = after[1].removeprefix("Three? ")
    assert perturb.with_sentences(texts, 3, first=True) == ["Three? One. Two!", f"{strange} Three?"]
    assert perturb.with_sentences(["alone"], 0, first=False) == ["alone alone"]


def test_an_effect_by_hand(vectors):
    # in capitals the first of two queries turns from document a to document b
    rows = {
        "red": [1, 0.1],
        "RED": [0.1, 1],
        "up": [0.1, 1],
        "UP": [0.1, 1],
        "x": [1, 0],
        "y": [0, 1],
    }
    found = vectors(
        rows, {"a": "x", "b": "y"}, {"q": "red", "r": "up"}, [("q", "a", 1), ("r", "a", 1)],
        perturbations=["upper-case"],
    )  # fmt: skip
    (system,) = found["systems"].records()
    assert ": 2 queries, 2 documents," in found["systems"].title
    assert [frame.name for frame in found.frames] == ["systems", "drops", "effects"]
    clean, lost = (1 + SECOND) / 2, SECOND - 1
    assert system["score"].mean == pytest.approx(clean)
    deviation = (1 - SECOND) / 2
    assert system["variance"] == pytest.approx(deviation**2)
    assert system["normalised variance"] == pytest.approx((deviation / clean) ** 2)
    assert system["worst tenth"] == pytest.approx(SECOND)
    (effect,) = effects(found).values()
    assert (effect["perturbation"], effect["versions"], effect["changed"]) == ("upper-case", 1, 1)
    assert effect["score"] == pytest.approx(SECOND)
    assert effect["change"].mean == pytest.approx(lost / 2)
    assert effect["drop rate"] == pytest.approx(lost / 2 / clean)
    assert (effect["worse"], effect["better"], effect["overlap"], effect["between"]) == (
        0.5,
        0,
        1,
        0,
    )
    assert spreads(effect) == (0, 0, SECOND)


def test_versions_are_averaged(vectors):
    # one of four phrases turns the query away
    phrases = [phrase.format("red") for phrase in perturb.TEMPLATES]
    rows = {text: [1, 0] for text in (*phrases[1:], "red", "x")}
    rows |= {phrases[0]: [0, 1], "y": [0, 1]}
    found = vectors(
        rows, {"a": "x", "b": "y"}, {"q": "red"}, [("q", "a", 1)], perturbations=["templates"]
    )
    (effect,) = effects(found).values()
    assert effect["versions"] == 4
    assert effect["score"] == pytest.approx((3 + SECOND) / 4)
    assert effect["between"] == pytest.approx((1 - SECOND) * 3**0.5 / 4)
    assert (effect["worse"], effect["better"], effect["variance"]) == (0.25, 0, 0)


def test_vnap_of_average_precision():
    # NAP: 0.4, 0.8, 1.8; their mean is 1, their variance (0.36 + 0.04 + 0.64) / 3
    assert spread(np.array([0.2, 0.4, 0.9]))[1] == pytest.approx(1.04 / 3)
    assert spread(np.zeros(3)) == (0, None, 0)
    assert spread(np.arange(21) / 20)[2] == pytest.approx(0.05)  # 3 of 21


COPIES = ["copies, not relevant", "copies, taken out", "copies, as their original"]


def test_copies_by_hand(vectors):
    # words are too short for errors: the copy of a is as near as a, and ranks before it
    rows = {"q q q": [1, 0], "a a a": [1, 0.5], "b b b": [1, 1]}
    found = vectors(
        rows, {"a": "a a a", "b": "b b b"}, {"q": "q q q"}, [("q", "a", 1)],
        perturbations=["copies"],
    )  # fmt: skip
    made = effects(found)
    assert list(made) == COPIES
    assert [effect["score"] for effect in made.values()] == pytest.approx([SECOND, 1, 1])
    assert [effect["change"].mean for effect in made.values()] == [pytest.approx(SECOND - 1), 0, 0]
    assert [effect["changed"] for effect in made.values()] == [1 / 2] * 3
    assert [effect["overlap"] for effect in made.values()] == [1] * 3


def test_a_copy_of_the_own_document_of_a_query_is_no_result_either(vectors):
    # q is the text of a document, and relevant to r, so that there is a copy of it
    rows = {"q q q": [1, 0], "a a a": [1, 0.5], "b b b": [0.2, 1]}
    documents = {"a": "a a a", "b": "b b b", "q": "q q q"}
    found = vectors(
        rows, documents, {"q": "q q q", "r": "q q q"}, [("q", "a", 1), ("r", "q", 1)],
        perturbations=["copies"], suffix=",exclude_self=true",
    )  # fmt: skip
    assert found["systems"].numbers("score") == [1]
    scores = [effect["score"] for effect in effects(found).values()]
    # of q, behind its own copy and that of a: rank 3; of r, behind its copy: rank 2
    assert scores == pytest.approx([(0.5 + SECOND) / 2, 1, 1])


def test_what_a_model_cannot_see_changes_nothing():
    names = ["upper-case", "lower-case", "word-order"]  # of a bag of small letters
    found = study(["bm25", MODEL], TASK, perturbations=names)
    for system in (0, 1):
        for effect in effects(found, system).values():
            assert effect["change"] == Estimate(0, 0, 0)
            assert (effect["drop rate"], effect["worse"], effect["better"], effect["overlap"]) == (
                0,
                0,
                0,
                1,
            )
            assert effect["between"] == 0
    assert effects(found)["upper-case"]["changed"] == 1
    assert found["contrasts"]["p"] == (1, 1, 1)


def test_every_perturbation_of_two_systems():
    found = study(["bm25", MODEL, "bm25"], TASK, severities=(0.2, 1), draws=2)
    assert found["systems"].values("system") == ["bm25", MODEL]
    made = effects(found)
    assert list(made) == [
        "typos 20%", "typos 100%", "upper-case", "lower-case", "word-order", "templates",
        "document-typos 20%", "document-typos 100%", "sentence-before", "sentence-after", *COPIES,
    ]  # fmt: skip
    assert [effect["versions"] for effect in made.values()] == [2, 2, 1, 1, 2, 4, *[1] * 7]
    assert made["typos 100%"]["change"].mean < made["typos 20%"]["change"].mean < 0
    assert effects(found, 1)["typos 20%"]["between"] > 0
    # a hashed vector does not depend on the corpus: without the copies nothing has changed
    assert effects(found, 1)["copies, taken out"]["change"] == Estimate(0, 0, 0)
    for effect in (*made.values(), *effects(found, 1).values()):
        clean = effect["score"] - effect["change"].mean
        assert effect["drop rate"] == pytest.approx(effect["score"] / clean - 1)
    said = [note for note in found.notes if "the zero vector" in note]
    [line] = [note for note in said if note.startswith("bm25, typos 20%: ")]
    assert line.endswith(" more variants likewise)")
    assert " of the queries ha" in line
    assert len(found["contrasts"]) == len(made)
    for contrast in found["contrasts"].records():
        apart = [effects(found, i)[contrast["perturbation"]]["change"].mean for i in (0, 1)]
        assert contrast["loses less by"].mean == pytest.approx(apart[0] - apart[1])
        assert contrast["p, Holm"] >= contrast["p"]
    assert ": 30 queries, 40 documents, 2 random draws of each change" in found["systems"].title


def test_what_is_drawn_is_drawn_from_the_seed():
    one, same, other = (
        study(["bm25"], TASK, perturbations=["typos"], draws=2, seed=seed) for seed in (0, 0, 1)
    )
    assert one == same
    assert effects(one) != effects(other)


def test_a_collection_with_candidates_has_no_copies(monkeypatch):
    task = catalog.task(TASK)
    data = task.load()
    q, n = len(data.queries), len(data.corpus)
    every = Candidates(np.arange(q + 1) * n, np.tile(np.arange(n, dtype=np.int32), q))
    given = with_data(TASK, replace(data, candidates=every))
    monkeypatch.setattr(catalog, "task", lambda spec: given)
    found = study([MODEL], TASK, draws=1)
    assert "no copies: the collection has passages or candidates" in found.notes
    assert not [name for name in effects(found) if name.startswith("copies")]
    with pytest.raises(InputError, match=r"has passages or candidates: copies need neither"):
        study(["bm25"], TASK, perturbations=["copies"])


@pytest.mark.parametrize(
    ("models", "more", "message"),
    [
        ([], {}, "no system is named: expected at least one"),
        (
            ["bm25"],
            {"perturbations": ["typo"]},
            "unknown perturbation 'typo'. Did you mean 'typos'?",
        ),
        (["bm25"], {"severities": [0.0]}, "a severity of 0: expected a share above 0 and up to 1"),
        (["bm25"], {"severities": [1.5]}, "a severity of 1.5: expected"),
        (["bm25"], {"draws": 0}, "0 draws: expected at least 1"),
        (["bm25", "rerank:minilm,first=bm26"], {}, "unknown model 'bm26'"),
    ],
)
def test_what_is_refused(models, more, message):
    with pytest.raises(InputError, match=re.escape(message)):
        study(models, TASK, **more)


def test_tasks_of_another_kind_and_measures_of_groups_are_refused(tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("sentence1,sentence2,score\na,b,1\nc,d,2\n")
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study(["bm25"], f"pairs:{pairs}")
    with pytest.raises(InputError, match="measured by Robustness@10, of groups: expected one of"):
        Session(Store(cache_root())).collection(TASK, "Robustness@10")


def test_bm25_on_real_queries():
    found = study(["bm25"], f"folder:{shared('adi')}", perturbations=["typos", "upper-case"])
    made = effects(found)
    assert made["upper-case"]["change"] == Estimate(0, 0, 0)
    assert made["typos 30%"]["drop rate"] < -0.05
    assert set(KNOWN) == {*perturb.PERTURBATIONS, "copies"}


def effect(system: str, name: str, change: float) -> tuple:
    score, spread = Estimate(change, change - 0.01, change + 0.01), (0.04, 0.0625, 0.25)
    return (
        system,
        name,
        1,
        0.5,
        0.8 + change,
        0.0125,
        score,
        change / 0.8,
        *spread,
        0.4,
        0.1,
        0.75,
    )


NAMES = ("typos 30%", "upper-case", "copies, not relevant", "word-order")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (NAMES[:3], "typos 30% costs the most nDCG@10: bm25 -10.0%, minilm -5.0%"),
        (NAMES[2:3], "copies, not relevant costs nDCG@10: bm25 -50.0%, minilm -50.0%"),
        (NAMES[1:2], "nothing that was tried lowers nDCG@10"),
        (
            NAMES[3:],
            "word-order costs nDCG@10: bm25 -0.5%, minilm +0.0%, which the queries do not show",
        ),
    ],
)
def test_the_headline_is_what_costs_most(names, said):
    changes = {"bm25": (-0.08, 0.0, -0.4, -0.004), "minilm": (-0.04, 0.0, -0.4, 0.0)}
    rows = [
        effect(system, n, c)
        for system, all in changes.items()
        for n, c in zip(NAMES, all, strict=True)
    ]
    frame = Frame("t", EFFECTS, rows, name="effects").where("perturbation", *names)
    assert headline(frame, "nDCG@10") == said
    beside = drops(frame, "nDCG@10").table()
    assert beside.header == ["perturbation", "bm25", "minilm", "what it is"]
    if names == NAMES[:3]:
        assert [row[:3] for row in beside.rows] == [
            ["typos 30%", "-10.0%", "-5.0%"],
            ["upper-case", "+0.0%", "+0.0%"],
            ["copies, not relevant", "-50.0%", "-50.0%"],
        ]
        assert [row[3].split()[0] for row in beside.rows] == ["queries", "queries", "a"]
