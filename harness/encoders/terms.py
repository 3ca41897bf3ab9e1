"""Texts as terms: how words are cut, which are left out and how they are stemmed, by language."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.errors import InputError

ENGLISH = "en"
SHORT = {
    "eng": "en", "deu": "de", "nld": "nl", "fra": "fr", "spa": "es", "por": "pt", "ita": "it",
    "rus": "ru", "swe": "sv", "nor": "no", "nob": "no", "nno": "no", "nb": "no", "nn": "no",
    "dan": "da", "tur": "tr", "kor": "ko", "zho": "zh", "cmn": "zh", "jpn": "ja", "tha": "th",
    "lao": "lo", "khm": "km", "mya": "my",
}  # fmt: skip
"""Of the codes of three letters (ISO 639-3) those of languages that are treated by name below."""
STOPPED = {
    "en": "EN", "de": "GERMAN", "nl": "DUTCH", "fr": "FRENCH", "es": "SPANISH", "pt": "PORTUGUESE",
    "it": "ITALIAN", "ru": "RUSSIAN", "sv": "SWEDISH", "no": "NORWEGIAN", "da": "DANISH",
    "tr": "TURKISH", "ko": "KOREAN",
}  # fmt: skip
"""Languages whose stop words bm25s brings, and what it calls them."""
SEVERAL = "mul"
UNSPACED = ("zh", "ja", "th", "lo", "km", "my", SEVERAL)
"""Languages that are, or may be, written without spaces: no words are to be seen, so that pairs of
characters are counted; between them, words of other scripts."""
SCRIPTS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー]"
SAMPLE = 10_000  # texts by which the script of a collection is told


@dataclass(frozen=True)
class Analysis:
    """What becomes of a text of one language.

    Attributes:
        language: A code of ISO 639, without country or script.
    """

    language: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z]{2,3}", self.language):
            raise InputError(
                f"bm25: language={self.language}: expected a code of ISO 639, as en, de or zh"
            )

    @property
    def stop_words(self) -> str:
        """Which words are left out, for records."""
        return f"bm25s {self.language}" if self.language in STOPPED else "none"

    @property
    def stemmer(self) -> str:
        """How words are stemmed, for records."""
        if self.language == ENGLISH:
            return "snowball english"
        return "none" if self._stem is None else f"snowball {self.language}"

    @property
    def terms(self) -> str:
        """How texts are cut, for records."""
        return "words, and character pairs" if self.language in UNSPACED else "words"

    @cached_property
    def _stem(self) -> Callable[[list[str]], list[str]] | None:
        import Stemmer

        try:
            stem: Callable[[list[str]], list[str]] = Stemmer.Stemmer(self.language).stemWords
        except KeyError:  # there is none for this language
            return None
        return stem

    @cached_property
    def _cut(self) -> Callable[[str], list[str]]:
        """How a text in small letters is cut: words of two letters or more, as bm25s does.

        Where combining marks belong to words (in scripts of India, in Arabic), these stay whole.
        """
        if self.language == ENGLISH:
            return re.compile(r"\b\w\w+\b").findall
        import regex

        words: Callable[[str], list[str]] = regex.compile(r"\b\w\w+\b").findall
        if self.language not in UNSPACED:
            return words
        parts = regex.compile(rf"{SCRIPTS}+|(?:(?!{SCRIPTS})\w){{2,}}").findall
        unspaced = regex.compile(SCRIPTS).match
        return lambda text: [
            term for part in parts(text) for term in (_pair(part) if unspaced(part) else [part])
        ]

    def analyse(self, texts: Sequence[str]) -> tuple[list[list[int]], dict[str, int]]:
        """Cut texts into terms.

        Terms are numbered in alphabetical order, so that sums over them have one order, and with
        it one last bit, in every process.

        Returns:
            Numbers of the terms of each text, and the vocabulary.
        """
        found: dict[str, int] = {}
        rows = [
            [found.setdefault(word, len(found)) for word in self._cut(text.lower())]
            for text in texts
        ]
        words = list(found)
        stems = dict(zip(words, self._stem(words) if self._stem else words, strict=True))
        for word in _find_stop_words(self.language):
            stems.pop(word, None)
        vocabulary = {stem: number for number, stem in enumerate(sorted(set(stems.values())))}
        numbers = [vocabulary[stems[word]] if word in stems else -1 for word in words]
        return [[numbers[word] for word in row if numbers[word] >= 0] for row in rows], vocabulary


def _pair(run: str) -> list[str]:
    """Neighbouring characters of a run, two by two; one that stands alone is a term, too."""
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def _find_stop_words(language: str) -> Sequence[str]:
    if language not in STOPPED:
        return ()
    from bm25s import stopwords

    return list(getattr(stopwords, f"STOPWORDS_{STOPPED[language]}"))


def shorten(language: str) -> str:
    """A code as it is used here: deu-Latn, de-DE and deu are de."""
    code = language.replace("_", "-").partition("-")[0].lower()
    return SHORT.get(code, code)


def guess(texts: Sequence[str]) -> str:
    """The language by which texts of an unknown one are cut: en, or one that knows no spaces.

    Only the script is looked at: it decides whether there are words to be seen.
    """
    import regex

    sample = " ".join(texts[:: max(1, len(texts) // SAMPLE)])
    letters, unspaced = len(regex.findall(r"\w", sample)), len(regex.findall(SCRIPTS, sample))
    return UNSPACED[0] if 2 * unspaced > letters else ENGLISH
