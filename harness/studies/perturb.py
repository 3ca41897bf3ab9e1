"""Texts and collections changed as users and corpora change them: errors, case, phrases, copies.

What is drawn is drawn from a seed alone, text after text; a word that is mistyped at a low share is
mistyped in the same way at a higher one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.data import Corpus
from harness.pipeline.retrieve import drop_self
from harness.tasks import Task
from harness.vectors import Run, ranking

COPY_TYPOS = 0.1  # share of a copy's words that are mistyped
DEEPER = 4  # times the depth is searched, so that results are left where copies are taken out
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
OFFSETS = (0.0, 0.25, 0.75)  # of the rows of a keyboard, in widths of a key
WORD = re.compile(r"[^\W\d_]{4,}")  # shorter words are seldom mistyped, and lost by one error
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
TEMPLATES = (
    "what is known about {}",
    "find documents on the following: {}",
    "{} - where can I read more?",
    "I need background on this: {}",
)


@dataclass(frozen=True)
class Perturbation:
    """A way to change the queries or the documents of a collection.

    versions: from texts [n], the severity and seeds to texts [n] once or more often. severe:
    whether the severity matters.
    """

    about: str
    of_queries: bool
    versions: Callable[[Sequence[str], float, Sequence[int]], list[list[str]]]
    severe: bool = False


def _neighbours() -> dict[str, str]:
    """The keys that touch each key of an English keyboard, in the order of its rows."""
    at = {key: (x + OFFSETS[y], y) for y, row in enumerate(KEYS) for x, key in enumerate(row)}
    return {
        key: "".join(
            other
            for other, (u, v) in at.items()
            if other != key and abs(u - x) <= 1 and abs(v - y) <= 1
        )
        for key, (x, y) in at.items()
    }


NEIGHBOURS = _neighbours()


def typos(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """One typing error in each word of at least four letters, with probability `share`.

    An error is, equally often, a neighbouring key for the right one, two letters swapped, a letter
    left out, or a neighbouring key hit as well.
    """
    random = np.random.default_rng(seed)

    def mistype(found: re.Match[str]) -> str:
        hit, kind, place, key = random.random(4).tolist()
        return _mistype(found[0], int(kind * 4), place, key) if hit < share else found[0]

    return [WORD.sub(mistype, text) for text in texts]


def _mistype(word: str, kind: int, place: float, key: float) -> str:
    """A word with one error. kind: 0 to 3, as in `typos`; place, key: which, from 0 up to 1.

    Where the error cannot be made, as with a letter that the keyboard lacks, the letter is left
    out.
    """
    at = int(place * (len(word) - 1))  # never the last letter, so that two can be swapped
    letter, rest = word[at], word[at + 1 :]
    near = NEIGHBOURS.get(letter.lower(), "")
    other = near[int(key * len(near))] if near else ""
    if letter.isupper():
        other = other.upper()
    if kind == 0:
        return word[:at] + other + rest
    if kind == 1 and letter != rest[0]:
        return word[:at] + rest[0] + letter + rest[1:]
    if kind == 3 and other:
        return word[:at] + letter + other + rest
    return word[:at] + rest


def shuffle(texts: Sequence[str], seed: int) -> list[str]:
    """The words of each text in a random order."""
    random = np.random.default_rng(seed)
    split = [text.split() for text in texts]
    return [" ".join(words[i] for i in random.permutation(len(words))) for words in split]


def with_sentences(texts: Sequence[str], seed: int, *, first: bool) -> list[str]:
    """Each text with a sentence of another one, drawn at random, put before it or after it."""
    random, n = np.random.default_rng(seed), len(texts)
    others = (np.arange(n) + random.integers(1, max(n, 2), size=n)) % n
    made = []
    for text, other, place in zip(texts, others, random.random(n), strict=True):
        sentences = SENTENCE_END.split(texts[other].strip())
        strange = sentences[int(place * len(sentences))]
        made.append(f"{strange} {text}" if first else f"{text} {strange}")
    return made


PERTURBATIONS: Mapping[str, Perturbation] = {
    "typos": Perturbation(
        "queries with a typing error in a share of the words of at least four letters",
        True,
        lambda texts, share, seeds: [typos(texts, share, seed) for seed in seeds],
        severe=True,
    ),
    "upper-case": Perturbation(
        "queries in capital letters", True, lambda texts, *_: [[t.upper() for t in texts]]
    ),
    "lower-case": Perturbation(
        "queries in small letters", True, lambda texts, *_: [[t.lower() for t in texts]]
    ),
    "word-order": Perturbation(
        "queries with their words in a random order",
        True,
        lambda texts, _, seeds: [shuffle(texts, seed) for seed in seeds],
    ),
    "templates": Perturbation(
        f"queries inside {len(TEMPLATES)} phrases, as '{TEMPLATES[0].format('...')}'",
        True,
        lambda texts, *_: [[phrase.format(t) for t in texts] for phrase in TEMPLATES],
    ),
    # documents are many: drawn once
    "document-typos": Perturbation(
        "documents with a typing error in a share of the words",
        False,
        lambda texts, share, seeds: [typos(texts, share, seeds[0])],
        severe=True,
    ),
    "sentence-before": Perturbation(
        "documents preceded by a sentence of another one, drawn at random",
        False,
        lambda texts, _, seeds: [with_sentences(texts, seeds[0], first=True)],
    ),
    "sentence-after": Perturbation(
        "documents followed by a sentence of another one, drawn at random",
        False,
        lambda texts, _, seeds: [with_sentences(texts, seeds[0], first=False)],
    ),
}
"""What can be done to texts, by name."""

COPIES = "copies"
KNOWN = {name: one.about for name, one in PERTURBATIONS.items()} | {
    COPIES: "a copy of each relevant document beside it, with a typing error in "
    f"{COPY_TYPOS:.0%} of its words"
}
"""What may be done to a collection, by name."""


@dataclass(frozen=True)
class Shift:
    """A perturbation of a collection, in one version or more.

    readings: the names under which a run of a version is judged, with what makes of it a run of
    the clean collection's documents.
    """

    name: str
    versions: tuple[Task, ...]
    changed: float
    readings: Mapping[str, Callable[[Run], Run]]


def shifts(name: str, task: Task, severities: Sequence[float], seeds: range) -> list[Shift]:
    """A perturbation of a collection by name, at each severity where that matters.

    Args:
        name: One of KNOWN.
        task: A task that is searched.
        severities: Shares of words.
        seeds: One for each version of what is random in queries.
    """
    if name == COPIES:
        return [_copies(task, seeds[0])]
    asked, found, data = PERTURBATIONS[name], list[Shift](), task.collection
    before = data.queries.texts if asked.of_queries else data.corpus.texts
    for share in dict.fromkeys(severities) if asked.severe else (0.0,):
        texts = asked.versions(before, share, seeds)
        changed = np.mean([x != y for after in texts for x, y in zip(before, after, strict=True)])
        label = f"{name} {100 * share:g}%" if asked.severe else name
        names = [label, *(f"{label}, again ({n})" for n in range(1, len(texts)))]
        versions = [
            task.changed(version, queries=replace(data.queries, texts=after))
            if asked.of_queries
            else task.changed(version, corpus=replace(data.corpus, texts=after))
            for version, after in zip(names, texts, strict=True)
        ]
        found.append(Shift(label, tuple(versions), float(changed), {label: lambda run: run}))
    return found


def _copies(task: Task, seed: int) -> Shift:
    """Relevant documents with a copy each, which nobody has judged; and three ways to count them.

    Copies have ids, and so rows, behind all others, so that the judgments hold as they are.
    """
    data, depth, own = task.collection, task.depth, task.exclude_self
    corpus, n = data.corpus, len(data.corpus)
    qrels = data.qrels if data.binary is None else data.binary
    originals = np.unique(qrels.docs[(qrels.docs >= 0) & (qrels.gains > 0)])
    texts = typos([corpus.texts[row] for row in originals], COPY_TYPOS, seed)
    ids = [f"{corpus.ids[-1]} {corpus.ids[row]}" for row in originals]
    more = Corpus([*corpus.ids, *ids], [*corpus.texts, *texts])
    source = np.concatenate([np.arange(n), originals]).astype(np.int32)

    def remove(run: Run) -> Run:
        kept = np.where(run.docs < n, run.docs, np.int32(-1))
        return ranking.unpack(ranking.best(ranking.pack(run.scores, kept), depth))

    def merge(run: Run) -> Run:
        found = ranking.by_parent(run, source, depth + own)[0]
        return drop_self(found, data, depth) if own else found

    readings: dict[str, Callable[[Run], Run]] = {
        "copies, not relevant": lambda run: Run(run.docs[:, :depth], run.scores[:, :depth]),
        "copies, taken out": remove,
        "copies, as their original": merge,
    }
    version = task.changed(COPIES, corpus=more, kept=DEEPER * depth)
    return Shift(COPIES, (version,), len(originals) / n, readings)
