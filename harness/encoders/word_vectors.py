"""Averaged word vectors: GloVe, word2vec and the like, from a local file or folder."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from harness import zoo
from harness.arrays import BROKEN, Float32
from harness.data import Role
from harness.disk import file_sha256, foreign, parquet
from harness.disk.lines import read_lines
from harness.encoders import ENCODERS, Encoded, Similarity, TextEncoder
from harness.encoders.hashing import words_of
from harness.encoders.models import MODELS
from harness.errors import InputError, reason
from harness.threads import PARSING
from harness.vectors import Representation
from harness.wording import count

Weighting = Literal["none", "sif"]
SIF = 1e-3  # the constant a of smooth inverse frequency, as Arora et al. use it
TEXT = (".txt", ".vec")
LONGEST = 2**20  # bytes of a line: a word and its numbers have some thousand
HEADER = re.compile("0*([0-9]{1,12}) 0*([0-9]{1,12})")  # how many words, and numbers of each
NUMBERS = re.compile("[0-9]+ [0-9]+")
DECIMALS = re.compile(r"[-+.0-9eE ]*")


@ENCODERS.register("words")
def word_vectors(target: str, *, weighting: Weighting = "none") -> WordVectors:
    """Averaged word vectors, such as GloVe's: text file, folder or packaged name.

    A file is .txt or .vec, plain or .gz, one word with its numbers a line; a folder holds one .npy
    [v, d] and its v words, one .parquet (first column) or .txt. Words of a text are runs of letters
    and digits, in lower case; those without a vector are left out. weighting=sif: a / (a + p) for a
    word of probability p (Arora, Liang and Ma 2017, without their removal of a common component),
    which is that of its place in the file by Zipf's law: expected the most frequent first. Raises
    InputError where there is no such file.
    """
    path = zoo.find(target)[0] if target in zoo.models() else Path(target).expanduser()
    if path.is_dir():
        return WordVectors((_only(path, ".npy"), _only(path, ".parquet", ".txt")), weighting)
    if not path.is_file():
        raise InputError(f"{target}: no such file or folder of word vectors")
    if Path(path.name.removesuffix(".gz")).suffix not in TEXT:
        raise InputError(f"{target}: expected word vectors as .txt or .vec, plain or .gz")
    return WordVectors((path,), weighting)


@dataclass(frozen=True)
class WordVectors(TextEncoder):
    """Word vectors and what decides their average; they are with MODELS.

    Attributes:
        files: One of text, or an array and its vocabulary.
        weighting: Of the words of a text.
    """

    files: tuple[Path, ...]
    weighting: Weighting

    representation: ClassVar[Representation] = "dense"
    similarity: ClassVar[Similarity] = "cosine"

    @property
    def key(self) -> Hashable:
        """Which vectors these are among all that are loaded."""
        return (type(self).__name__, *self.digests, self.weighting)

    @property
    def table(self) -> tuple[dict[str, int], Float32]:
        """The row of each word, and rows [v, d], weighted; read where they are not here yet."""
        return MODELS.get(self.key, self.read_table)

    def read_table(self) -> tuple[dict[str, int], Float32]:
        """Read the row of each word, and rows [v, d], weighted. Of equal words the first counts."""
        words, rows = _text(self.files[0]) if len(self.files) == 1 else _folder(*self.files)
        if not np.isfinite(rows).all():
            raise InputError(f"{self.files[0]}: a vector holds NaN or infinity")
        if self.weighting == "sif":
            ranks = np.arange(1, len(rows) + 1)
            probability = 1 / (ranks * (1 / ranks).sum())
            rows = rows * (SIF / (SIF + probability)).astype(np.float32)[:, None]
        return {word: row for row, word in reversed([*enumerate(words)])}, rows

    @cached_property
    def parameters(self) -> int | None:
        """Numbers of all vectors: as the array's header tells, or the lines of a text file."""
        if len(self.files) == 1:
            return _count(self.files[0])
        try:
            with PARSING:
                return int(np.load(self.files[0], mmap_mode="r").size)
        except (OSError, *BROKEN):
            return None  # reading the vectors says what is wrong with them

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 of each file."""
        return [file_sha256(path) for path in self.files]

    def fingerprint(self) -> Mapping[str, object]:
        """Tell the SHA-256 of the files, and the weighting."""
        return {"files_sha256": self.digests, "weighting": self.weighting}

    def made_with(self) -> Mapping[str, str]:
        """Tell the version of numpy."""
        return {"numpy": np.__version__}

    def load(self) -> None:
        """Read the vectors. Raises InputError where the files do not hold any."""
        MODELS.get(self.key, self.read_table)

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Average word vectors [n, d]; a text without a known word is the zero vector."""
        row_of, rows = self.table
        values = np.zeros((len(texts), rows.shape[1]), np.float32)
        tokens = np.zeros(len(texts), np.int32)
        for i, text in enumerate(texts):
            found = words_of(text)
            tokens[i] = len(found)
            known = [row_of[word] for word in found if word in row_of]
            if known:
                values[i] = rows[known].mean(axis=0, dtype=np.float64)
        return Encoded(values, tokens, np.zeros(len(texts), np.bool_))


def _only(folder: Path, *suffixes: str) -> Path:
    """The one file of a folder with one of these suffixes."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix in suffixes]
    if len(found) != 1:
        raise InputError(f"{folder}: {len(found)} files {' or '.join(suffixes)}: expected one")
    return found[0]


def _folder(array: Path, vocabulary: Path) -> tuple[Sequence[str], Float32]:
    """Words and rows of an array with a vocabulary."""
    try:
        with PARSING:
            rows = np.load(array, allow_pickle=False)
    except (OSError, *BROKEN) as error:
        raise InputError(f"{array.parent}: not readable as word vectors: {reason(error)}") from None
    words: list[Any]
    if vocabulary.suffix == ".parquet":
        words = [next(iter(row.values()), None) for _, row in parquet.read_rows(vocabulary)]
    else:
        words = foreign.read_text(vocabulary).removesuffix("\n").split("\n")
    if not all(isinstance(word, str) for word in words):
        raise InputError(f"{vocabulary}: a word that is no text: expected a text a row")
    if rows.ndim != 2 or rows.dtype.kind != "f" or len(rows) != len(words):
        raise InputError(
            f"{array}: {rows.dtype} {list(rows.shape)} for "
            f"{count(len(words), 'word')}: expected an array "
            "of floats, a row a word"
        )
    return words, rows.astype(np.float32, copy=False)


def _text(path: Path) -> tuple[Sequence[str], Float32]:
    """Words and rows of a text file: word, numbers, by single spaces; a word may hold spaces.

    A first line of two whole numbers tells how many words and numbers there are (word2vec).
    """
    words: list[str] = []
    rows: list[Float32] = []
    told, dim = None, 0
    for where, line in read_lines(path, "replace", LONGEST):
        fields = line.rstrip().split(" ")
        if not rows and told is None and NUMBERS.fullmatch(line.rstrip()):
            header = HEADER.fullmatch(line.rstrip())
            if not header:
                raise InputError(f"{where}: a number of more than 12 digits: expected less")
            told, dim = map(int, header.groups())
            if not dim:
                raise InputError(f"{where}: vectors of 0 numbers: expected at least 1")
            continue
        dim = dim or len(fields) - 1
        split = max(1, len(fields) - dim)
        words.append(" ".join(fields[:split]))
        rows.append(_numbers(fields[split:], dim, where))
    if not rows or told not in (None, len(rows)):
        raise InputError(f"{path}: {count(len(rows), 'word')}: expected {told or 'at least one'}")
    return words, np.stack(rows)


def _count(path: Path) -> int | None:
    """The numbers in a text file: of a header, or of the first line for all lines."""
    lines = (line.rstrip() for _, line in read_lines(path, "replace", LONGEST))
    first = next(lines, "")
    if header := HEADER.fullmatch(first):
        return int(header[1]) * int(header[2])
    return first.count(" ") * (1 + sum(1 for _ in lines)) if first else None


def _numbers(fields: Sequence[str], dim: int, where: str) -> Float32:
    """The numbers after a word."""
    try:
        with np.errstate(over="ignore"):  # infinity is refused with all others
            found = np.fromiter(map(float, fields), np.float32, dim)
        if not dim or not DECIMALS.fullmatch(" ".join(fields)):  # float reads nan and 1_0, too
            raise ValueError("no decimal numbers")
    except (ValueError, MemoryError) as error:
        raise InputError(
            f"{where}: {reason(error)}: expected a word and {count(dim, 'number')}"
        ) from None
    return found
