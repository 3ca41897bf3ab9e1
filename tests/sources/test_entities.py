from __future__ import annotations

import json
import operator
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any

import numpy as np
import pytest
import Stemmer

from harness.data import Retrieval
from harness.sources import SOURCES
from harness.sources.entities import entities
from harness.tasks import catalog
from tests.sources.writing import complaint


@cache
def made(**knobs: Any) -> Retrieval:
    data = entities(**knobs)
    assert isinstance(data, Retrieval)
    return data


Record = dict[str, Any]
Meets = Callable[[Record], bool]

# A reader of documents and queries that knows English, not the generator: nothing below is taken
# from its tables.

AWARDS = r"(?:won|received) ([^.]+)\."
THEMES = r"(?:explores|deals with|revolves around) ([^.]+)\."
NUMBERS = {"year", "minutes", "budget", "tickets", "pages", "chapters", "copies"}
NUMBERS |= {"born", "papers", "students", "patents"}
STATED = {
    "films": {
        "genre": r" a (\w+) film made in",
        "country": r"film made in (\w+)",
        "year": r"[Rr]eleased in (\d+)",
        "minutes": r"(\d+) minutes",
        "budget": r"(\d+) million dollars",
        "tickets": r"sold (\d+) thousand tickets",
        "instrument": r"music is played on the (\w+)",
        "shot": r"(?:shot|place|location) in ([^.]+)\.",
        "spoken": r"(?:characters speak|dialogue in|hear is in) ([^.]+)\.",
        "themes": THEMES,
        "awards": AWARDS,
    },
    "novels": {
        "setting": r"set in (\w+)",
        "language": r"[Ww]ritten in (\w+)",
        "year": r"[Pp]ublished in (\d+)",
        "pages": r"(\d+) pages",
        "chapters": r"(\d+) chapters",
        "copies": r"sold (\d+) thousand copies",
        "narrator": r"(?:narrated by|narrator is|has) (a \w+)",
        "audio": r"(?:available|editions|heard) in ([^.]+)\.",
        "reprints": r"(?:reprinted|appeared) in ([^.]+)\.",
        "themes": THEMES,
        "awards": AWARDS,
    },
    "researchers": {
        "birthplace": r"[Bb]orn in (\w+) in \d+",
        "born": r"[Bb]orn in \w+ in (\d+)",
        "parent": r"child of (a \w+)",
        "papers": r"(\d+) papers",
        "students": r"(\d+) doctoral students",
        "patents": r"(\d+) patents",
        "instrument": r"plays the (\w+)",
        "worked": r"(?:worked|posts) in ([^.]+)\.",
        "speaks": r" speaks? ([^.]+)\.",
        "subjects": r"(?:research on|been about|has covered) ([^.]+)\.",
        "awards": AWARDS,
    },
}
ASKED = {
    "films": {
        "genre": r"(?:belong to|fall into) the (.+) genre",
        "country": r"were (?:made|produced) in (.+)",
        "year": r"(?:were released|came out) (.+)",
        "minutes": r"(?:run for|have a running time of) (.+) minutes",
        "budget": r"(?:cost|had a budget of) (.+) million dollars(?: to make)?",
        "tickets": r"sold (.+) thousand tickets",
        "instrument": r"(?:have music played on|use) the (.+?)(?: for their music)?",
        "shot": r"were (?:shot|filmed) in (.+?)(?: countries)?",
        "spoken": r"have (?:dialogue in|characters who speak) (.+?)(?: languages)?(?: in all)?",
        "themes": r"(?:explore|deal with) (.+?)(?: themes)?",
        "awards": r"(?:won|received) (.+?)(?: awards)?",
    },
    "novels": {
        "setting": r"(?:are set|take place) in (.+)",
        "language": r"(?:were written in|have) ([A-Z]\w+)(?: as their original language)?",
        "year": r"(?:were published|first appeared) (.+)",
        "pages": r"(?:have|are) (.+) pages(?: long)?",
        "chapters": r"have (.+) chapters",
        "copies": r"sold (.+) thousand copies",
        "narrator": r"(?:are narrated by|have) (a \w+)(?: as their narrator)?",
        "audio": r"(?:have an audio edition|have audio editions|can be heard as audiobooks) in"
        r" (.+?)(?: languages)?",
        "reprints": r"(?:were reprinted|had reprints) in (.+?)(?: countries)?",
        "themes": r"(?:explore|deal with) (.+?)(?: themes)?",
        "awards": r"(?:won|received) (.+?)(?: awards)?",
    },
    "researchers": {
        "birthplace": r"were born in ([A-Z]\w+)",
        "born": r"were born ([^A-Z]+)",
        "parent": r"(?:are the child of|have) (a \w+)(?: as a parent)?",
        "papers": r"have published (.+) papers",
        "students": r"have supervised (.+) doctoral students",
        "patents": r"hold (.+) patents",
        "instrument": r"play the (.+)",
        "worked": r"have (?:worked|held posts) in (.+?)(?: countries)?",
        "speaks": r"(?:speak|have a command of) (.+?)(?: languages)?",
        "subjects": r"have (?:done research on|studied) (.+?)(?: subjects)?",
        "awards": r"(?:won|received) (.+?)(?: awards)?",
    },
}
DENIALS = [
    (r"^did not win ", "won "),
    (r"^did not receive ", "received "),
    (r"^have an original language other than (\w+)", r"have \1 as their original language"),
    (r"^have no audio", "have an audio"),
    (r"^(ha[vd]e?) no ", r"\1 "),
    (r"^cannot ", "can "),
    (r"^do not ", ""),
    (r"^(were|are|have) not ", r"\1 "),
]
NUMERALS = {"two": 2, "three": 3, "four": 4, "five": 5}
EXCEPT = r",? ?(?:except those|leaving out any|not counting those) (?:that|who) "


@cache
def read(text: str) -> tuple[str, Record]:
    """The kind of a document's entity, and all that is stated of it."""
    kind = next(f"{noun}s" for noun in ("film", "novel", "researcher") if f" {noun}" in text)
    record: Record = {}
    for name, pattern in STATED[kind].items():
        [found] = re.findall(pattern, text)
        many = pattern.endswith(r"([^.]+)\.")
        values = [] if found == "no awards" else re.split(", | and ", found)
        record[name] = frozenset(values) if many else int(found) if name in NUMBERS else found
        assert not many or len(values) == len(set(values))
    return kind, record


def number(text: str) -> int:
    return NUMERALS[text] if text in NUMERALS else int(text)


def bound(text: str) -> Callable[[int], bool] | None:
    """Whether an amount keeps to a bound; None where the text is none."""
    word = r"(\w+)"
    for pattern, keeps in [
        (f"at least {word}|in {word} or later", operator.ge),
        (f"more than {word}|after {word}", operator.gt),
        (f"at most {word}|in {word} or earlier", operator.le),
        (f"(?:fewer|less) than {word}|before {word}", operator.lt),
        (f"exactly {word}", operator.eq),
    ]:
        if match := re.fullmatch(pattern, text):
            limit = number(match[match.lastindex or 1])
            return lambda amount: bool(keeps(amount, limit))
    if match := re.fullmatch(rf"{word} to {word}", text):
        low, high = number(match[1]), number(match[2])
        return lambda amount: low <= amount <= high
    return None


def atom(kind: str, text: str) -> tuple[str, bool, Meets]:
    """One constraint: the attribute, whether the text denies it, and who meets it."""
    plain, two_sided = re.subn(r" \(inclusive\)$", "", text)
    plain, zero = re.subn(r" \(or none\)$", "", plain)
    for pattern, positive in DENIALS:
        plain, denied = re.subn(pattern, positive, plain)
        if denied:
            break
    matches = {name: re.fullmatch(pattern, plain) for name, pattern in ASKED[kind].items()}
    [(name, what)] = [(name, match[1]) for name, match in matches.items() if match]
    assert two_sided == (" to " in what)
    assert zero == (name == "awards" and bool(re.match("at most|fewer than", what)))

    keeps = bound(what)

    def meets(record: Record) -> bool:
        stated = record[name]
        if keeps:
            found = keeps(stated if isinstance(stated, int) else len(stated))
        else:
            found = what in stated if isinstance(stated, frozenset) else what == stated
        return found != bool(denied)

    return name, bool(denied), meets


Asked = tuple[str, list[list[tuple[str, bool, Meets]]], list[tuple[str, bool, Meets]]]


def understood(text: str) -> Asked:
    """A query: the kind, the clauses of which one atom each is to be met, and the exceptions."""
    opening = r"(?:(?:Which|Find all|I am looking for|All) )?([Ff]ilms|[Nn]ovels|[Rr]esearchers)"
    match = re.fullmatch(rf"{opening}(?: (?:that|who))?( .+?|, .+?)[.?]?", text)
    assert match, text
    kind = match[1].lower()
    said = re.sub(r"between (\d+) and (\d+)", r"\1 to \2", match[2])
    body, _, tail = re.sub(EXCEPT, "|", said).partition("|")
    assert "|" not in tail
    body = re.sub(r"(, | and )(?:that|who) ", r"\1", body.strip())
    body = body.replace(" or later", "+").replace(" or earlier", "-").replace("(or none)", "0")

    def atoms(parts: Iterable[str]) -> list[tuple[str, bool, Meets]]:
        written = [
            part.replace("+", " or later").replace("-", " or earlier").replace(" 0", " (or none)")
            for part in parts
        ]
        return [atom(kind, part) for part in written if part]

    clauses = []
    while match := re.search(r"(?:^| and |, )either (.+?), or (both|several of these)", body):
        options = re.split(", | or ", match[1])
        assert (len(options) == 2) == (match[2] == "both")
        clauses.append(atoms(options))
        body = body[: match.start()] + body[match.end() :]
    clauses += [[one] for one in atoms(re.split(", | and ", body))]
    return kind, clauses, [atom(kind, part) for part in re.split(" or (?:that|who) ", tail) if part]


def answer(asked: Asked, records: list[tuple[str, Record]]) -> set[int]:
    kind, clauses, exceptions = asked
    return {
        row
        for row, (which, record) in enumerate(records)
        if which == kind
        and all(any(meets(record) for _, _, meets in clause) for clause in clauses)
        and not any(meets(record) for _, _, meets in exceptions)
    }


def judged(data: Retrieval) -> list[set[int]]:
    qrels = data.qrels
    return [set(part.tolist()) for part in np.split(qrels.docs, qrels.indptr[1:-1])]


def sizes(**knobs: Any) -> list[int]:
    return [len(relevant) for relevant in judged(made(**knobs))]


# the documents


def test_every_document_states_every_attribute_once() -> None:
    data = made(queries=1)
    records = [read(text) for text in data.corpus.texts]
    assert Counter(kind for kind, _ in records) == {"films": 667, "novels": 667, "researchers": 666}
    assert {len(text.split(". ")) for text in data.corpus.texts} == {7}
    words = [len(text.split()) for text in data.corpus.texts]
    assert (min(words), max(words)) == (54, 96)
    assert 70 < np.mean(words) < 80
    assert {len(record) for _, record in records} == {11}


def test_metadata_is_what_documents_state() -> None:
    corpus = made(docs=90, queries=1).corpus
    assert corpus.metadata is not None
    for row, text in enumerate(corpus.texts):
        cells = {name: column[row] for name, column in corpus.metadata.items()}
        kind = cells.pop("kind")
        held = {name: cell for name, cell in cells.items() if cell is not None}
        plain = {n: set(cell) if isinstance(cell, list) else cell for n, cell in held.items()}
        which, record = read(text)
        assert (kind, plain) == (
            which, {n: one if isinstance(one, str | int) else set(one) for n, one in record.items()}
        )  # fmt: skip


def test_every_value_is_held_by_many() -> None:
    """So that no query is answered by one rare word."""
    held: Counter[tuple[str, str, str]] = Counter()
    for kind, record in (read(text) for text in made(queries=1).corpus.texts):
        for name, stated in record.items():
            if name not in NUMBERS:
                held.update(
                    (kind, name, one) for one in ([stated] if isinstance(stated, str) else stated)
                )
    assert (
        len(held) == 10 + 12 + 10 + 12 + 12 + 12 + 10 + 12 * 5 + 10 * 2 + 12 + 10 + 10 + 12 * 3 + 10
    )
    assert min(held.values()) > 35


def vocabulary() -> dict[str, list[str]]:
    text = (files("harness.sources") / "words" / "entities.toml").read_text("ascii")
    found: dict[str, list[str]] = tomllib.loads(text)["vocabulary"]
    return found


def test_no_word_of_a_name_is_a_value() -> None:
    stem = Stemmer.Stemmer("english").stemWords
    words = vocabulary()
    names = [words.pop("adjectives"), words.pop("nouns")]
    names += [
        (files("harness.sources") / "words" / f"{part}_names.txt").read_text("ascii").split()
        for part in ("first", "last")
    ]
    values = " ".join(chain.from_iterable(words.values())).lower().split()
    assert set(stem(values)) & set(stem([name.lower() for name in chain(*names)])) == set()
    assert [len(names[0]), len(names[1])] == [len(set(names[0])), len(set(names[1]))] == [100, 100]


def test_the_corpus_depends_on_docs_and_seed_alone() -> None:
    data = made(queries=1)
    assert made(form="count", constraints=3, queries=9, most=500).corpus == data.corpus
    texts = dict(zip(data.corpus.ids, data.corpus.texts, strict=True))
    few = made(docs=50, queries=1, seed=0).corpus
    assert few.ids == sorted(f"entity_{i}" for i in range(50))
    assert [texts[id] for id in few.ids] == few.texts
    other = made(docs=50, queries=1, seed=1).corpus
    assert set(few.texts).isdisjoint(other.texts)


# the queries


TASKS = [f"complex-{form}" for form in ("and", "or", "not", "count", "range", "mixed")]
TASKS += [f"complex-mixed-{k}" for k in (1, 2, 4)]


@pytest.mark.parametrize(
    "spec",
    [f"{task},docs=600,queries=50" for task in TASKS]
    + [
        "entities,docs=400,form=and,constraints=3,negated=1,queries=40,seed=1",
        "entities,docs=400,form=or,constraints=4,negated=1,queries=40,seed=2",
        "entities,docs=400,form=or,constraints=2,negated=2,queries=40,seed=3",
        "entities,docs=400,form=not,constraints=1,queries=40,seed=4",
        "entities,docs=400,form=count,constraints=4,negated=2,queries=40,seed=5,least=1",
        "entities,docs=400,form=range,constraints=3,negated=3,queries=40,seed=6",
        "entities,docs=400,form=mixed,constraints=6,negated=2,queries=40,seed=7,least=1",
    ],
)
def test_the_relevant_are_exactly_those_whose_text_says_so(spec: str) -> None:
    task = catalog.task(spec)
    data = task.load()
    assert isinstance(data, Retrieval)
    records = [read(text) for text in data.corpus.texts]
    knobs = dict(task.source.params)
    constraints, form = int(knobs["constraints"]), knobs["form"]
    negations = set()
    for text, relevant in zip(data.queries.texts, judged(data), strict=True):
        kind, clauses, exceptions = asked = understood(text)
        assert answer(asked, records) == relevant, text
        atoms = [*chain(*clauses), *exceptions]
        assert len({name for name, _, _ in atoms}) == len(atoms) == constraints
        negations.add(len(exceptions) + sum(denied for _, denied, _ in atoms))
        for i, clause in enumerate(clauses):
            for j in range(len(clause)):
                rest = [*clauses[:i], clause[:j] + clause[j + 1 :], *clauses[i + 1 :]]
                lesser = (kind, [one for one in rest if one], exceptions)
                assert answer(lesser, records) != relevant, f"{text}: a constraint is idle"
        for i in range(len(exceptions)):
            lesser = (kind, clauses, exceptions[:i] + exceptions[i + 1 :])
            assert answer(lesser, records) != relevant, f"{text}: an exception is idle"
    own = {"not": {(constraints + 1) // 2}, "mixed": {0, 1} if constraints > 1 else {0}}
    assert negations == ({int(knobs["negated"])} if "negated" in knobs else own.get(form, {0}))


@pytest.mark.parametrize("task", ["complex-and", "complex-mixed"])
def test_tasks_have_the_sizes_that_they_state(task: str) -> None:
    found = catalog.task(task)
    data = found.load()
    assert isinstance(data, Retrieval)
    definition = found.definition
    assert (len(data.corpus), len(data.queries)) == (definition.documents, definition.queries)
    assert set(data.qrels.gains.tolist()) == {1}
    assert len(set(data.queries.texts)) == 300
    assert len({text.split()[0] for text in data.queries.texts}) >= 6  # openings


def test_a_query_is_asked_once_however_few_there_are() -> None:
    data = made(docs=300, form="count", constraints=1, queries=60, least=1, most=100)
    assert len(set(data.queries.texts)) == 60


@pytest.mark.parametrize(
    ("knobs", "texts"),
    [
        (
            {"form": "mixed", "constraints": 4},
            [
                "Find all films that sold fewer than 700 thousand tickets, that deal with jealousy "
                "and that either fall into the mystery genre or were filmed in Iceland, or both.",
                "Films that have a running time of at most 120 minutes, that explore four to five "
                "themes (inclusive), that won two to three awards (inclusive) and that cost 20 to "
                "70 million dollars to make (inclusive)",
            ],
        ),
        (
            {"form": "not", "constraints": 3},
            [
                "Novels that were written in Korean, that are not narrated by a locksmith and that "
                "do not take place in Chile",
                "Novels that were written in Hindi, leaving out any that were reprinted in Poland "
                "or that have a beekeeper as their narrator",
            ],
        ),
        (
            {"form": "or", "constraints": 3, "most": 400},
            [
                "Novels that either are narrated by a locksmith, take place in Chile or were "
                "written in Korean, or several of these",
                "Novels that either were reprinted in Poland, have a beekeeper as their narrator "
                "or were written in Hindi, or several of these",
            ],
        ),
    ],
)
def test_what_queries_say(knobs: dict[str, Any], texts: list[str]) -> None:
    assert made(**knobs, queries=2).queries.texts == texts


@pytest.mark.parametrize(("least", "most"), [(1, 5), (10, 20), (60, 60), (150, 400)])
def test_the_wanted_number_of_documents_is_relevant(least: int, most: int) -> None:
    found = sizes(docs=900, queries=30, least=least, most=most)
    assert least <= min(found) <= max(found) <= most


def test_more_constraints_leave_fewer_of_all_and_more_of_any() -> None:
    both = {
        form: [
            np.mean(sizes(docs=1500, queries=100, form=form, constraints=k, least=1, most=1500))
            for k in (1, 2, 3, 4)
        ]
        for form in ("and", "or")
    }
    assert both["and"] == sorted(both["and"], reverse=True)
    assert both["or"] == sorted(both["or"])
    assert both["and"][0] > 10 * both["and"][3]
    assert both["or"][3] > 2 * both["or"][0]


# what cannot be met


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"docs": 0}, "entities: docs=0: expected at least 1"),
        ({"docs": 300_001}, "entities: docs=300001: expected at most 300000"),
        ({"queries": 0}, "entities: queries=0: expected at least 1"),
        ({"constraints": 0}, "entities: constraints=0: expected at least 1 with form=mixed"),
        ({"constraints": 12}, "entities: constraints=12: expected at most 11 with form=mixed"),
        (
            {"constraints": 8, "form": "and"},
            "entities: constraints=8: expected at most 7 with form=and",
        ),
        (
            {"constraints": 5, "form": "count"},
            "entities: constraints=5: expected at most 4 with form=count",
        ),
        (
            {"constraints": 5, "form": "range"},
            "entities: constraints=5: expected at most 4 with form=range",
        ),
        ({"negated": 3}, "entities: negated=3: expected at most 2 with form=mixed"),
        ({"negated": -1}, "entities: negated=-1: expected at least 0 with form=mixed"),
        (
            {"negated": 0, "form": "not"},
            "entities: negated=0: expected at least 1 with form=not",
        ),
        ({"least": 0}, "entities: least=0: expected at least 1"),
        ({"least": 9, "most": 8}, "entities: most=8: expected at least 9"),
        ({"seed": -1}, "entities: seed=-1: expected at least 0"),
        (
            {"seed": 2**63},
            "entities: seed=9223372036854775808: expected at most 9223372036854775807",
        ),
    ],
)
def test_a_number_out_of_bounds(knobs: dict[str, Any], expected: str) -> None:
    assert complaint(lambda: made(**knobs)) == expected


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        (
            {"docs": 30, "queries": 1, "least": 11},
            "entities: found 0 of queries=1: 2000 more draws with form=mixed, constraints=2, "
            "least=11, most=250 gave none, most often for too few relevant documents: raise docs "
            "or lower least",
        ),
        (
            {"docs": 900, "queries": 1, "form": "or", "constraints": 4, "most": 9},
            "entities: found 0 of queries=1: 2000 more draws with form=or, constraints=4, least=2, "
            "most=9 gave none, most often for too many relevant documents: raise most",
        ),
    ],
)
def test_queries_that_are_not_to_be_found(knobs: dict[str, Any], expected: str) -> None:
    assert complaint(lambda: made(**knobs)) == expected


def test_queries_run_out() -> None:
    message = complaint(lambda: made(docs=300, form="count", constraints=1, most=100))
    assert re.match(r"entities: found \d+ of queries=300: ", message)
    assert message.endswith(" gave none, most often for a query asked already: lower queries")


def test_a_constraint_that_decides_nothing_is_refused() -> None:
    message = complaint(lambda: made(docs=3, queries=9, form="not", constraints=1, least=1))
    assert message.endswith(
        "for a constraint that changes nothing: raise docs or lower constraints"
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "entities,form=xor",
            "entities: form=xor: expected one of and, or, not, count, range, mixed",
        ),
        ("entities,negated=some", "entities: negated=some: expected a whole number"),
        ("entities:here", "source 'entities' takes no target, yet entities:here has one"),
    ],
)
def test_specs_that_name_no_collection(spec: str, expected: str) -> None:
    assert complaint(lambda: SOURCES.create(spec)) == expected


# the same bytes everywhere

SMALL = {
    "corpus": "c462992464cd4ef910311e86ee82975da79a853b6d25f964542d5fa37138406f",
    "queries": "dde5e31d86e1a390308a89f1fce9b7c060ab389831f10f14b9e4c76c28ef0713",
    "qrels": "7a5fbc7a1481949504f7049da30964b88baa6ea81ca71b70cb074f38f2d33f62",
    "metadata": "f6364627f347d82de4096fb5d5e800ab830e6fab5a40d221d1543a7ed23ceca2",
}


def test_bytes_of_seed_0() -> None:
    assert made(docs=90, queries=40).fingerprint() == SMALL


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_bytes_do_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    code = (
        "import json; from harness.sources.entities import entities; "
        "print(json.dumps(entities(docs=90, queries=40).fingerprint()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == SMALL
