from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import combinations, islice
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import Stemmer
from bm25s.tokenization import STOPWORDS_EN
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.data import Retrieval, text_digest
from harness.sources import SOURCES
from harness.sources.files import rows
from harness.sources.folder import folder
from harness.sources.limit import limit
from tests.shared import shared
from tests.sources.writing import complaint

QUICK = settings(max_examples=100, deadline=None, derandomize=True)
STOP_WORDS = frozenset(STOPWORDS_EN)
PATTERNS = ("dense", "random", "cycle", "disjoint")

TASKS = tomllib.loads((Path(__file__).parents[2] / "tasks/limit.toml").read_text("utf-8"))

made = cache(limit)


def words(name: str) -> list[str]:
    text = (files("harness.sources") / "words" / f"{name}.txt").read_text("ascii")
    assert text.endswith("\n")
    return text.splitlines()


def stems(text: str) -> frozenset[str]:
    return frozenset(Stemmer.Stemmer("english").stemWords(re.findall(r"\w+", text.lower())))


def likes(data: Retrieval) -> list[list[str]]:
    """What each document's person likes, read from its text."""
    found = []
    for name, text in zip(data.corpus.ids, data.corpus.texts, strict=True):
        assert text.startswith(f"{name} likes ")
        assert text.endswith(".")
        found.append(re.split(", | and ", text[len(f"{name} likes ") : -1]))
    return found


def asked(data: Retrieval) -> list[str]:
    """The thing that each query asks for."""
    matches = [re.fullmatch(r"Who likes (.+)\?", text) for text in data.queries.texts]
    return [match[1] for match in matches if match]


def judged(data: Retrieval) -> list[set[int]]:
    """Rows of the documents judged relevant to each query."""
    qrels = data.qrels
    return [set(part.tolist()) for part in np.split(qrels.docs, qrels.indptr[1:-1])]


def shape(sets: Iterable[Iterable[int]]) -> Counter[frozenset[int]]:
    """Who is relevant to what, whatever the documents are called: queries of each document."""
    queries: dict[int, set[int]] = {}
    for query, documents in enumerate(sets):
        for document in documents:
            queries.setdefault(document, set()).add(query)
    return Counter(map(frozenset, queries.values()))


# the words


def test_likes_are_many_and_plain() -> None:
    found = words("likes")
    assert len(found) == 2010
    assert len(set(found)) == 2010
    assert found == sorted(found)
    assert [like for like in found if not re.fullmatch(r"[A-Z][A-Za-z' -]*[A-Za-z]", like)] == []
    assert [like for like in found if " and " in like.lower() or "  " in like] == []


def test_no_like_is_part_of_another() -> None:
    found = [like.lower() for like in words("likes")]
    assert [like for like in found if sum(like in other for other in found) != 1] == []


def test_no_like_has_the_stems_of_another() -> None:
    found = Counter(map(stems, words("likes")))
    assert [set(key) for key, count in found.items() if count > 1] == []
    assert [(set(a), set(b)) for a in found for b in found if a < b] == []


def test_no_like_shares_a_stem_with_a_name_or_with_the_sentence() -> None:
    taken = stems(" ".join([*words("first_names"), *words("last_names"), "Who likes and"]))
    assert [(like, shared) for like in words("likes") if (shared := stems(like) & taken)] == []


def test_names_are_one_word_each_and_either_first_or_last() -> None:
    first, last = words("first_names"), words("last_names")
    assert (len(set(first)), len(set(last))) == (len(first), len(last)) == (753, 590)
    assert set(first) & set(last) == set()
    assert [name for name in first + last if not re.fullmatch("[A-Z][A-Za-z]+", name)] == []


def test_synonyms_say_likes_in_words_that_no_like_and_no_name_shares() -> None:
    found = words("synonyms")
    said = [synonym for synonym in found if synonym]
    assert (len(found), len(said), len(set(map(stems, said)))) == (2010, 1966, 1966)
    assert [text for text in said if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9' -]*", text)] == []
    sources = ["likes", "first_names", "last_names"]
    taken = stems(" ".join(word for name in sources for word in words(name)))
    taken = (taken | stems("Who likes")) - STOP_WORDS
    assert [(text, shared) for text in said if (shared := stems(text) & taken)] == []


def test_what_two_likes_could_mean_has_no_synonym() -> None:
    said = dict(zip(words("likes"), words("synonyms"), strict=True))
    assert (said["Aubergines"], said["Loveseats"]) == ("eggplants", "couches for two")
    same = ["Courgettes", "Zucchinis", "Checkers", "Draughts", "Backpacks", "Rucksacks"]
    assert [said[thing] for thing in same] == [""] * 6


# the default shape


def test_limit_small() -> None:
    data = made(docs=46)
    assert (len(data.corpus), len(data.queries), len(data.qrels.docs)) == (46, 1000, 2000)
    assert data.queries.ids == [f"query_{i}" for i in range(1000)]
    assert len(set(asked(data))) == 1000
    assert set(data.qrels.gains.tolist()) == {1}
    assert [len(things) for things in likes(data)] == [45] * 46
    assert np.diff(data.qrels.indptr).tolist() == [2] * 1000
    degrees = np.bincount(data.qrels.docs)
    assert Counter(degrees.tolist()) == {45: 37, 38: 2, 37: 7}
    assert (data.qrels.unknown_documents, data.qrels.unknown_queries) == (0, 0)
    assert (data.qrels.repeated, data.warnings) == (0, ())


def test_more_documents_add_people_who_like_nothing_asked_for() -> None:
    data = made(docs=1000)
    assert len(set(data.qrels.docs.tolist())) == 46
    assert [len(things) for things in likes(data)] == [45] * 1000
    assert data.queries == made(docs=46).queries


def test_names_are_first_and_last() -> None:
    first, last = set(words("first_names")), set(words("last_names"))
    names = [name.split(" ") for name in made(docs=1000).corpus.ids]
    assert {name[0] for name in names} <= first
    assert {name[1] for name in names} <= last
    assert len({name[0] for name in names}) > 400
    assert {len(name) for name in names} == {2}


def test_fillers_are_spread_evenly() -> None:
    data = made(docs=1000)
    counts = Counter(thing for things in likes(data) for thing in things)
    unasked = [counts[thing] for thing in set(words("likes")) - set(asked(data))]
    assert len(unasked) == 1010
    assert sum(unasked) == 1000 * 45 - 2000
    assert min(unasked) > 20  # mean 42.6, standard deviation 6.4
    assert max(unasked) < 68


def test_what_is_asked_for_stands_anywhere_in_a_text() -> None:
    data = made(docs=1000, pattern="disjoint", queries=500)
    things = set(asked(data))
    places = [i for found in likes(data) for i, thing in enumerate(found) if thing in things]
    assert len(places) == 1000
    assert set(places) == set(range(45))
    assert 20.7 < np.mean(places) < 23.3  # 22 and three standard errors


# relevance


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    """Numbers that can be met."""
    pattern = draw(st.sampled_from(PATTERNS))
    k, queries = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    least = {"dense": k, "disjoint": queries * k}.get(pattern, k)
    while pattern == "dense" and comb(least, k) < queries:
        least += 1
    relevant = draw(st.integers(least, least + 12))
    return {
        "pattern": pattern,
        "k": k,
        "queries": queries,
        "relevant": relevant,
        "docs": draw(st.integers(relevant, relevant + 40)),
        "attributes": draw(st.integers(1, 60)),
        "seed": draw(st.integers(0, 2**63 - 1)),
    }


@QUICK
@given(numbers())
@example({"docs": 1, "queries": 1, "k": 1, "attributes": 1})
@example({"docs": 3, "queries": 40, "k": 3, "pattern": "cycle", "attributes": 2})
@example({"docs": 40, "queries": 1970, "k": 2, "pattern": "random", "attributes": 40})
@example({"docs": 5000, "queries": 20, "k": 2, "pattern": "random", "attributes": 3})
@example({"docs": 46, "pattern": "dense"})
@example({"docs": 2000, "pattern": "disjoint"})
def test_the_relevant_are_exactly_those_whose_text_says_so(asked_for: dict[str, Any]) -> None:
    data = limit(**asked_for)
    people = likes(data)
    assert len(data.corpus) == asked_for["docs"]
    assert all(len(set(things)) == len(things) for things in people)
    assert min(map(len, people)) >= asked_for.get("attributes", 45)
    holders: dict[str, set[int]] = {thing: set() for thing in asked(data)}
    for row, things in enumerate(people):
        for thing in holders.keys() & set(things):
            holders[thing].add(row)
    assert list(holders.values()) == judged(data)
    k = asked_for.get("k", 2)
    assert np.diff(data.qrels.indptr).tolist() == [k] * asked_for.get("queries", 1000)
    relevant = asked_for.get("relevant", asked_for["docs"])
    assert len(set(data.qrels.docs.tolist())) <= relevant


@QUICK
@given(numbers())
def test_nobody_likes_more_than_asked_unless_queries_demand_it(asked_for: dict[str, Any]) -> None:
    data = limit(**asked_for)
    things = set(asked(data))
    for found in likes(data):
        wanted = len(things & set(found))
        assert len(found) == max(asked_for["attributes"], wanted)


# the patterns


@pytest.mark.parametrize(
    ("queries", "k", "n"),
    [(1000, 2, 46), (1035, 2, 46), (1036, 2, 47), (7, 1, 7), (20, 3, 6), (21, 3, 7), (1, 4, 4)],
)
def test_dense_takes_the_smallest_n_and_its_subsets_in_order(queries: int, k: int, n: int) -> None:
    data = limit(docs=60, queries=queries, k=k)
    expected = list(islice(combinations(range(n), k), queries))
    assert len(expected) == queries
    assert shape(judged(data)) == shape(expected)
    assert len(set(data.qrels.docs.tolist())) == n


def test_no_two_queries_of_dense_have_the_same_answer() -> None:
    sets = [frozenset(found) for found in judged(made(docs=46))]
    assert len(set(sets)) == 1000
    assert {len(a & b) for a, b in combinations(sets, 2)} == {0, 1}


def test_dense_among_more_documents_than_it_needs() -> None:
    data = limit(docs=60, queries=12, k=2, relevant=10)
    assert shape(judged(data)) == shape(islice(combinations(range(10), 2), 12))


@pytest.mark.parametrize(
    ("docs", "queries", "k", "relevant", "n"),
    [(1000, 1000, 2, 0, 1000), (46, 1000, 2, 0, 46), (50, 20, 3, 0, 20), (50, 20, 3, 7, 7)],
)
def test_cycle_goes_round(docs: int, queries: int, k: int, relevant: int, n: int) -> None:
    data = limit(docs=docs, queries=queries, k=k, relevant=relevant, pattern="cycle")
    assert shape(judged(data)) == shape([{(i + j) % n for j in range(k)} for i in range(queries)])


@pytest.mark.parametrize(("queries", "k", "relevant"), [(100, 2, 0), (33, 3, 0), (10, 2, 50)])
def test_disjoint_shares_nothing(queries: int, k: int, relevant: int) -> None:
    data = limit(docs=200, queries=queries, k=k, relevant=relevant, pattern="disjoint")
    assert len(set(data.qrels.docs.tolist())) == queries * k
    assert shape(judged(data)) == {frozenset([i]): k for i in range(queries)}


def test_random_draws_from_all_relevant_evenly() -> None:
    data = limit(docs=50, queries=1000, k=2, pattern="random")
    degrees = np.bincount(data.qrels.docs, minlength=50)
    assert degrees.sum() == 2000
    assert degrees.min() > 18  # mean 40, standard deviation 6.2
    assert degrees.max() < 62
    few = limit(docs=500, queries=200, k=2, pattern="random", relevant=9)
    assert len(set(few.qrels.docs.tolist())) == 9
    one, two = judged(data), judged(limit(docs=50, queries=1000, k=2, pattern="random", seed=1))
    assert shape(one) != shape(two)


def test_released_qrels_have_the_shape_of_ours() -> None:
    released = folder(str(shared("limit-small")))
    assert shape(judged(released)) == shape(judged(made(docs=46)))


def test_released_full_qrels_have_the_shape_of_ours() -> None:
    numbers: dict[str, int] = {}
    sets: dict[str, set[int]] = {}
    for _, row in rows(shared("limit-qrels/qrels.jsonl")):
        document = numbers.setdefault(row["corpus-id"], len(numbers))
        sets.setdefault(row["query-id"], set()).add(document)
    assert list(sets) == [f"query_{i}" for i in range(1000)]
    assert shape(sets.values()) == shape(judged(made(docs=46)))


# synonyms


def test_synonyms_are_asked_and_likes_are_told() -> None:
    data, plain = made(docs=1000, synonyms=True), made(docs=1000)
    synonym = dict(zip(words("likes"), words("synonyms"), strict=True))
    thing = {synonym[like]: like for like in synonym if synonym[like]}
    things = [thing[text] for text in asked(data)]
    people = likes(data)
    assert [{i for i, p in enumerate(people) if one in p} for one in things] == judged(data)
    pairs = list(zip(asked(plain), things, strict=True))
    assert [(a, b) for a, b in pairs if synonym[a] and a != b] == []
    assert data.corpus.ids == plain.corpus.ids
    assert data.qrels.docs.tolist() == plain.qrels.docs.tolist()


def test_every_thing_with_a_synonym_can_be_asked() -> None:
    data = limit(docs=2000, queries=1965, attributes=45, pattern="cycle", synonyms=True)
    assert len(set(asked(data))) == 1965


# numbers that cannot be met


@pytest.mark.parametrize(
    ("asked_for", "expected"),
    [
        ({"docs": 0}, "limit: docs=0: expected at least 1"),
        ({"queries": 0}, "limit: queries=0: expected at least 1"),
        ({"k": 0}, "limit: k=0: expected at least 1"),
        ({"k": -2}, "limit: k=-2: expected at least 1"),
        ({"attributes": 0}, "limit: attributes=0: expected at least 1"),
        ({"seed": -1}, "limit: seed=-1: expected 0 or more"),
        ({"seed": 2**63}, "limit: seed=9223372036854775808: expected 0 or more"),
        (
            {"queries": 1966},
            "limit: queries=1966 with attributes=45 need 2011 different things to like; there are "
            "2010: lower one of them",
        ),
        (
            {"docs": 45},
            "limit: pattern=dense with queries=1000, k=2 has n=46 relevant documents: expected "
            "k <= n <= docs=45; raise docs or lower queries",
        ),
        (
            {"docs": 1999, "pattern": "disjoint"},
            "limit: pattern=disjoint with queries=1000, k=2 has n=2000 relevant documents: "
            "expected k <= n <= docs=1999; raise docs or lower queries",
        ),
        (
            {"docs": 4, "pattern": "random", "k": 5},
            "limit: pattern=random with queries=1000, k=5 has n=4 relevant documents: expected "
            "k <= n <= docs=4; raise docs or lower queries",
        ),
        (
            {"pattern": "cycle", "queries": 3, "k": 4},
            "limit: pattern=cycle with queries=3, k=4 has n=3 relevant documents: expected "
            "k <= n <= docs=50000; raise docs or lower queries",
        ),
        (
            {"relevant": 45},
            "limit: relevant=45 documents have C(45,2) = 990 subsets of 2, fewer than "
            "queries=1000: raise relevant",
        ),
        (
            {"relevant": 1999, "pattern": "disjoint"},
            "limit: relevant=1999: pattern=disjoint needs 2000",
        ),
        (
            {"queries": 1967, "attributes": 40, "docs": 2000, "synonyms": True},
            "limit: queries=1967 with synonyms=true: 1966 things have a synonym: lower queries",
        ),
        ({"docs": 444_271}, "limit: docs=444271: there are 444270 names: lower docs"),
    ],
)
def test_impossible_numbers_are_refused_with_the_reason(
    asked_for: dict[str, Any], expected: str
) -> None:
    assert complaint(lambda: limit(**asked_for)) == expected


@pytest.mark.parametrize("relevant", [-1, 1, 46, 10**30])
def test_relevant_outside_its_bounds(relevant: int) -> None:
    message = complaint(lambda: limit(docs=45, relevant=relevant))
    assert f"has n={relevant} relevant documents: expected k <= n <= docs=45" in message


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("limit,k=two", "limit: k=two: expected a whole number"),
        (
            "limit,pattern=star",
            "limit: pattern=star: expected one of dense, random, cycle, disjoint",
        ),
        ("limit,document=5", "unknown parameter of limit 'document'."),
        ("limit:here", "source 'limit' takes no target, yet limit:here has one"),
    ],
)
def test_specs_that_name_no_collection(spec: str, expected: str) -> None:
    assert complaint(lambda: SOURCES.create(spec)).startswith(expected)


def test_the_edge_of_the_vocabulary_is_reached() -> None:
    data = limit(docs=2000, queries=1965, attributes=45, pattern="cycle")
    used = {thing for things in likes(data) for thing in things} | set(asked(data))
    assert used == set(words("likes"))


# the tasks


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_what_it_declares_and_its_documents_are_alike(name: str) -> None:
    task = TASKS[name]
    data = SOURCES.create(task["source"])
    assert isinstance(data, Retrieval)
    assert (len(data.corpus), len(data.queries)) == (task["documents"], task["queries"])
    assert set(np.diff(data.qrels.indptr).tolist()) == {int(task["measures"][0][2:])}
    assert {len(things) for things in likes(data)} == {45}


# the same bytes everywhere

QUERIES = "2a1f6ad48011f086dc9a68e98c487e70038b2a586cf0f9729444ca69d6665dd8"
SMALL = {
    "corpus": "a4c2b9b2ce802b2b197f3cdd83fbb7dbb1e79d19553d06d6488f2d2ff8d08df0",
    "queries": QUERIES,
    "qrels": "68e998d8cd3f722abe1430f366ac402dd58799061e7e7b2919d9381e2995abd9",
}


@pytest.mark.parametrize(
    ("asked_for", "corpus", "qrels"),
    [
        ({"docs": 46}, SMALL["corpus"], SMALL["qrels"]),
        (
            {"docs": 1000},
            "b6dde9dbdecb8b389f33b24e700355d04c3a95bc0ecab635cc8721b98718e8ac",
            "23195f85c39acb56dcd96a67c80ca37bb7a25f3d665f295958771b92f56465ba",
        ),
        (
            {"docs": 3000, "pattern": "dense"},
            "c6c0a9442c128bdf87fee0b4277f8d153171c0ad015ceab98d0b65328f9dc770",
            "b529fff589a17ad1c7f5ff2ee680a2f978b8391752ae0c330691aa61692a4866",
        ),
        (
            {"docs": 3000, "pattern": "random"},
            "8ebcd0a34f92618f0aaf1a7873b7fda39ba3f67beaf5861dd66225d888381947",
            "b3e8c888806dcf78420c181976b96e8e4c255d9790e36315b4f8fd09210d1f0b",
        ),
        (
            {"docs": 3000, "pattern": "cycle"},
            "b68dc3a44885720213552e97c89e76b9dba817c58e5d0555469ea2ab7c230e63",
            "1fc3fa4473328691c62a6cd27f6428f289a0ed3ad4f2088a2be118748fe95ffd",
        ),
        (
            {"docs": 3000, "pattern": "disjoint"},
            "01b87e90ae736873bfe508376d8d7df91c1f7034203776e815004d8c90d55e11",
            "ddf93fcc8a3ec6a9c661861e67293d757d0f4c55282a5239e21c66e94d4acfc9",
        ),
        (
            {"docs": 50_000},
            "9ebbf9c62eb187053d0de1e7637589fe69a47b31a69d39c8ba192ce743d6ad69",
            "7dc754498b4434780f0b953d23dc3d1cc6a6a7ddca8704e12b4920730065231f",
        ),
    ],
    ids=["limit-small", "limit-1k", *PATTERNS, "limit"],
)
def test_bytes_of_seed_0(asked_for: dict[str, Any], corpus: str, qrels: str) -> None:
    expected = {"corpus": corpus, "queries": QUERIES, "qrels": qrels}
    assert limit(**asked_for).fingerprint() == expected


def test_bytes_of_synonyms() -> None:
    assert text_digest(words("synonyms")) == (
        "7a019077490130030003fce55602b146d2559ae6e80c0c81c0ef77150b9c953b"
    )
    assert limit(docs=46, synonyms=True).fingerprint() == {
        "corpus": "4b6aff9be678d63d184caaae1028d2b4cc8b7a49ca811d34c421ed5134fe2951",
        "queries": "d5808a5aa95e048b91201b105dfa685303b6ebd9486e466236c14776268e8a11",
        "qrels": SMALL["qrels"],
    }


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_bytes_do_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    code = (
        "import json; from harness.sources.limit import limit; "
        "print(json.dumps(limit(docs=46).fingerprint()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == SMALL


def test_another_seed_is_another_collection_of_the_same_shape() -> None:
    one, two = made(docs=46), limit(docs=46, seed=1)
    assert all(a != b for a, b in zip(one.corpus.texts, two.corpus.texts, strict=True))
    assert set(asked(one)) != set(asked(two))
    assert shape(judged(one)) == shape(judged(two))
