"""Texts changed as users and corpora change them: typing errors, case, word order, phrases, noise.

What is drawn is drawn from a seed alone, text after text; a word that is mistyped at a low share is
mistyped in the same way at a higher one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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

    def mistyped(found: re.Match[str]) -> str:
        hit, kind, place, key = random.random(4).tolist()
        return _mistyped(found[0], int(kind * 4), place, key) if hit < share else found[0]

    return [WORD.sub(mistyped, text) for text in texts]


def _mistyped(word: str, kind: int, place: float, key: float) -> str:
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


def shuffled(texts: Sequence[str], seed: int) -> list[str]:
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
        lambda texts, _, seeds: [shuffled(texts, seed) for seed in seeds],
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
        "documents behind a sentence of another one, drawn at random",
        False,
        lambda texts, _, seeds: [with_sentences(texts, seeds[0], first=True)],
    ),
    "sentence-after": Perturbation(
        "documents before a sentence of another one, drawn at random",
        False,
        lambda texts, _, seeds: [with_sentences(texts, seeds[0], first=False)],
    ),
}
"""What can be done to texts, by name."""
