"""Results in the format of the mteb package (TaskResult, one JSON file a task), in and out.

FOLDER/results/ORG__NAME/REVISION/TASK.json, with model_meta.json beside the tasks. The format was
read in mteb 2.26 (results/task_result.py, cache/result_cache.py).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import disk
from harness.arrays import is_finite
from harness.disk import foreign
from harness.errors import InputError
from harness.exchange.mteb_tasks import look_up
from harness.measures.asked import Measure
from harness.records import Record
from harness.spec import parse

META = "model_meta.json"
EXPERIMENTS = "experiments"  # within a revision, those with other settings of the model
UNMEASURED = ("external", "no_revision_available")  # in place of a revision: not known of what
UNKNOWN_LANGUAGE = "und-Zyyy"  # ISO 639 and ISO 15924: not determined

# What main_score may be, and what that says of the task, in the order in which it is believed
MAIN = {
    "cosine_spearman": ("pairs", "sts"),
    "ndcg_at_10": ("retrieval", "retrieval"),
    "map_at_1000": ("retrieval", "reranking"),
    "map": ("retrieval", "reranking"),
    "v_measure": ("clustering", "clustering"),
    "max_ap": ("pairs", "pair classification"),
    "similarity_ap": ("pairs", "pair classification"),
    "accuracy": ("classification", "classification"),
    "lrap": ("classification", "classification"),
    "p-MRR": ("retrieval", "instructions"),
    "f1": ("classification", "bitext mining"),
}


@dataclass(frozen=True)
class Part:
    """The scores of one subset of one split; main is a finite number from -1 to 1."""

    split: str
    subset: str
    languages: tuple[str, ...]
    main: float
    scores: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """One task result of mteb. revision: of the data, "" where it is not known."""

    task: str
    revision: str
    version: str | None
    parts: tuple[Part, ...]
    seconds: float | None
    date: float | None

    def select(
        self, subsets: Collection[str] = (), splits: Collection[str] = ()
    ) -> tuple[Part, ...]:
        """Return the parts whose mean is the score: those that mteb averages for the task.

        Args:
            subsets: Of these, those that count; all without any.
            splits: Of these, those that count, of a task that has one of them; all without any.

        Raises:
            InputError: Where nothing is left.
        """
        counted = [part for part in self.parts if _is_averaged(self.task, part)]
        if not counted:
            raise InputError("it has none of the splits and subsets that mteb averages")
        chosen = [part for part in counted if part.split in splits] or counted
        parts = tuple(part for part in chosen if not subsets or part.subset in subsets)
        if not parts:
            raise InputError(f"it has none of the subsets {', '.join(sorted(subsets))}")
        return parts

    def count_lacking(
        self, subsets: Collection[str] = (), splits: Collection[str] = ()
    ) -> tuple[int, int]:
        """How many of the parts that are asked for, of those that mteb averages, lack; of all."""
        known = look_up(self.task)
        if known is None:
            return 0, len(self.parts)
        wanted_splits = [name for name in known.splits if name in splits] or known.splits
        wanted = known.subsets & {*subsets} if subsets else known.subsets
        have = {(part.split, part.subset) for part in self.select(subsets, splits)}
        return len(wanted_splits) * len(wanted) - len(have), len(wanted_splits) * len(wanted)


def _is_averaged(task: str, part: Part) -> bool:
    """Whether mteb's score of a task counts a part; all of them where the task is not known."""
    known = look_up(task)
    return known is None or (part.split in known.splits and part.subset in known.subsets)


def read(data: object) -> Result:
    """A parsed JSON file as a result. Raises InputError that says why it is none."""
    if not isinstance(data, dict):
        raise InputError("neither a record nor a result of mteb")
    if "mteb_dataset_name" in data:
        raise InputError(
            "a result of mteb before 1.11: load it with mteb.TaskResult.from_disk, save it again"
        )
    if not _is_text(data.get("task_name")) or not isinstance(data.get("scores"), dict):
        raise InputError("neither a record nor a result of mteb (no task_name and scores)")
    parts = []
    for split, rows in data["scores"].items():
        if not isinstance(rows, list):
            raise InputError(f"scores of {split!r} are no list")
        parts += [_part(split, row) for row in rows]
    if not parts:
        raise InputError("a result of mteb without any score")
    revision, version = data.get("dataset_revision"), data.get("mteb_version")
    return Result(
        task=data["task_name"],
        revision=revision if isinstance(revision, str) and revision != "None" else "",
        version=version if isinstance(version, str) else None,
        parts=tuple(parts),
        seconds=number(data.get("evaluation_time")),
        date=number(data.get("date")),
    )


def _part(split: str, row: object) -> Part:
    if not isinstance(row, dict) or not isinstance(row.get("hf_subset"), str):
        raise InputError(f"a score of {split!r} names no subset (hf_subset)")
    main, where = number(row.get("main_score")), f"{split}/{row['hf_subset']}"
    if main is None or not -1 <= main <= 1:
        raise InputError(
            f"main_score of {where} is {row.get('main_score')!r:.40}: expected -1 to 1"
        )
    languages = row.get("languages")
    if not isinstance(languages, list) or not all(isinstance(one, str) for one in languages):
        raise InputError(f"languages of {where} are no list of names")
    known = ("hf_subset", "languages", "main_score", "mteb_version")
    scores = {key: value for key, value in row.items() if key not in known}
    return Part(split, row["hf_subset"], tuple(languages), main, scores)


def _is_text(value: object) -> bool:
    """Text that can be shown: not empty, no control character, no half of a surrogate pair."""
    return isinstance(value, str) and value != "" and value.isprintable()


def number(value: object) -> float | None:
    """A finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if is_finite(value) else None


def measure(parts: Sequence[Part]) -> str:
    """Which score is the main one: the files do not say, so the one that equals it everywhere."""

    def fits(name: str) -> bool:
        return all(number(part.scores.get(name)) == part.main for part in parts)

    return next((name for name in [*MAIN, *sorted(parts[0].scores)] if fits(name)), "main_score")


def kind_and_family(main: str) -> tuple[str, str]:
    """What a main score says of its task; another measure at a cut-off is one of retrieval."""
    ranked = ("retrieval", "retrieval")
    return MAIN.get(main, ranked if "_at_" in main else ("other", "other"))


def model(path: Path) -> tuple[str, str, Mapping[str, Any]]:
    """Name, revision and metadata of the model that a result belongs to.

    From model_meta.json beside it, else from the folders above; an experiment is another model.
    Metadata is empty where that file is missing or broken.
    """
    folder, experiment = path.parent, ""
    if folder.parent.name == EXPERIMENTS:
        folder, experiment = folder.parent.parent, f" [{folder.name}]"
    name, revision = folder.parent.name.replace("__", "/", 1), folder.name
    try:
        meta = foreign.read_json(path.parent / META)
    except InputError:
        meta = None
    meta = meta if isinstance(meta, dict) else {}
    said = meta.get("name")
    known = said if isinstance(said, str) and _is_text(said) else name
    return known + experiment, revision, meta


def to_json(result: Result) -> dict[str, Any]:
    """A result as the value of its JSON file: read(written(result)) == result."""
    splits: dict[str, list[dict[str, Any]]] = {}
    for part in result.parts:
        splits.setdefault(part.split, []).append({
            **part.scores,
            "main_score": part.main,
            "hf_subset": part.subset,
            "languages": list(part.languages),
            **({"mteb_version": result.version} if result.version else {}),
        })  # fmt: skip
    return {
        "dataset_revision": result.revision or "None",
        "task_name": result.task,
        "mteb_version": result.version,
        "scores": splits,
        "evaluation_time": result.seconds,
        "kg_co2_emissions": None,
        "date": result.date,
    }


def result(record: Record) -> Result:
    """A record as a result of mteb. Raises InputError where its main measure has no value.

    A task of the source mteb keeps the name, split, subset and languages that mteb gives it, and
    the revision of the mteb that is installed. The data of any other task is named by its content:
    revision "sha256-...", language not determined.
    """
    main = record.main.mean
    if main is None:
        raise InputError(f"{record.system.spec} on {record.task.spec}: no score to export")
    spec = parse(record.task.source)
    params = dict(spec.params)
    digest = disk.json_sha256(record.task.fingerprint)[:16]
    task, revision = record.task.spec, f"sha256-{digest}"
    split, subset = params.get("split", "test"), params.get("subset", "default")
    languages: Sequence[str] = (UNKNOWN_LANGUAGE,)
    known = _metadata(spec.target) if spec.name == "mteb" and spec.target else None
    if known is not None:
        task, revision = known.name, known.revision
        split = params.get("split") or _only(known.eval_splits, "test")
        spoken = known.hf_subsets_to_langscripts
        subset = params.get("subset") or _only(list(spoken), "default")
        languages = spoken.get(subset, languages)
    scores = {name(key): score.mean for key, score in record.scores.items()}
    return Result(
        task=task,
        revision=revision,
        version=None,  # mteb did not measure this
        parts=(Part(split, subset, tuple(languages), main, scores),),
        seconds=sum(phase.wall_s for phase in record.phases),
        date=datetime.fromisoformat(record.created).timestamp(),
    )


def _only(choices: Sequence[str], usual: str) -> str:
    return choices[0] if len(choices) == 1 else usual


def _metadata(task: str) -> Any:
    """What mteb says of a task; None where mteb or the task is not there."""
    logger = logging.getLogger("mteb")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import mteb

        return mteb.get_task(task).metadata
    except Exception:  # noqa: BLE001 - whatever mteb raises, the record is enough
        return None
    finally:
        logger.setLevel(before)


def name(measure: str) -> str:
    """A measure's name in mteb: nDCG@10 is ndcg_at_10; one that mteb lacks keeps its own."""
    try:
        known = Measure.parse(measure)
        called = known.definition().mteb
    except InputError:  # of a plugin that is not here
        return measure
    return f"{called}_at_{known.cutoff}" if called and known.cutoff else measure


def save(record: Record, folder: Path) -> Path:
    """Write a record as mteb's files; returns the path of the task's.

    Records of equal model and task replace each other. Raises InputError where there is no score,
    HarnessError where the folder cannot be written.
    """
    found = result(record)
    spec = parse(record.system.full)
    target = spec.target or ""
    on_hub = record.system.source == "registry" and re.fullmatch(r"[\w.-]+/[\w.-]+", target)
    called = target if on_hub else f"retrieval-harness/{disk.slug(record.system.spec)}"
    system = record.system
    revision = disk.json_sha256([system.full, system.fingerprint, system.prompts])[:40]
    parent = folder / "results" / called.replace("/", "__") / revision
    path = parent / f"{disk.slug(found.task)}.json"
    with disk.writing(path, "choose another folder"):
        parent.mkdir(parents=True, exist_ok=True)
        disk.write_whole(
            parent / META, json.dumps(_meta(record, called, revision), indent=2).encode()
        )
        text = json.dumps(to_json(found), indent=2, allow_nan=False)
        disk.write_whole(path, text.encode())
    return path


def _meta(record: Record, called: str, revision: str) -> dict[str, Any]:
    """The value of a model's metadata file; None for what a record does not tell."""
    return {
        "name": called,
        "revision": revision,
        "release_date": None,
        "languages": None,
        "loader": None,
        "n_parameters": record.system.parameters,
        "memory_usage_mb": None,
        "max_tokens": None,
        "embed_dim": record.system.dim,
        "license": None,
        "open_weights": None,
        "public_training_code": None,
        "public_training_data": None,
        "framework": [],
        "similarity_fn_name": record.system.similarity,
        "use_instructions": any(record.system.prompts.values()),
        "training_datasets": None,
    }
