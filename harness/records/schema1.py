"""Records of schema 1 as those of schema 2: what stood in names and loose details, as fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

PHASES = {  # names that are not "KIND OF" already
    "read store": ("load", "store"),
    "read run": ("load", "run"),
    "fuse": ("search", "fusion"),
    "ask one by one": ("search", "one by one"),
}
KINDS = ("load", "encode", "build", "search", "rerank", "rewrite", "score")
TUNING = "tune on "  # began the part of what chose weights
TYPED = ("exact", "bytes", "reused", "candidates", "parts", "weights", "latency_ms")
PART = ("system", "index", "counts", "spent")


def upgrade(old: Json) -> dict[str, Any]:
    """Convert the JSON of a record; what it lacks or holds beside is left to the validation.

    Schema 1 did not say that a model was handed over as an object: its source is "registry".
    """
    new = dict(old) | {"schema_version": 2}
    search = new.pop("search", None)
    if "spent" in new:
        new["usage"] = new.pop("spent")
    run = isinstance(search, dict) and search.get("spec") == "given"
    for key, convert in (("task", _task), ("phases", _phases)):
        if key in new:
            new[key] = convert(new[key])
    if "system" in new:
        new["system"] = _system(new["system"], "run" if run else "registry")
    return new | _search(search) if isinstance(search, dict) else new


def _system(old: Any, source: str) -> Any:
    if not isinstance(old, dict):
        return old
    new = dict(old) | {"source": source, "dim": old.get("dimension")}
    new.pop("dimension", None)
    made = new.pop("makes", None)
    if made in ("run", "scores"):  # it only ranks
        return new | {"representation": None, "similarity": None}
    return new | {"representation": made}


def _task(old: Any) -> Any:
    if not isinstance(old, dict) or "licence" not in old:
        return old
    return {**{k: v for k, v in old.items() if k != "licence"}, "license": old["licence"]}


def _search(old: Json) -> dict[str, Any]:
    """What was said of a search: the index, the parts, the latency."""
    details = old.get("details", {})
    latency = details.get("latency_ms")
    return {
        "depth": old.get("depth"),
        "index": None if old.get("spec") == "given" else _index(old.get("spec"), old, details),
        "parts": _parts("", details),
        "weights": details.get("weights", []),
        "candidates": details.get("candidates", False),
        "latency": latency
        and {"p50_ms": latency["p50"], "p95_ms": latency["p95"], "queries": latency["queries"]},
    }


def _index(spec: Any, old: Json, details: Json) -> dict[str, Any]:
    return {
        "spec": spec,
        "full": old.get("full"),
        "exact": _exact(details),
        "bytes": details.get("bytes"),
        "reused": details.get("reused"),
        "library": {k: v for k, v in details.items() if k not in (*TYPED, *PART)},
    }


def _exact(details: Json) -> bool:
    """Whether a search was exact; one of several parts where all that search were."""
    parts = [part for part in _dicts(details) if "index" in part or "parts" in part]
    if parts:
        return all(map(_exact, parts))
    return bool(details.get("exact", details.get("candidates", False)))


def _parts(within: str, details: Json) -> list[dict[str, Any]]:
    """Parts and theirs in one list, named as their phases are."""
    found = []
    for part in _dicts(details):
        name, index = within + part["system"], part.get("index")
        found.append({
            "system": name,
            "index": index and _index(index, {"full": index}, part),
            "counts": part.get("counts", {}),
            "usage": part.get("spent", {}),
            "bytes": part.get("bytes"),
            "weights": part.get("weights", []),
        })  # fmt: skip
        found += _parts(f"{name}: ", part)
    return found


def _dicts(details: Json) -> list[Json]:
    """The parts that details tell of; a plugin's may have been anything."""
    parts = details.get("parts", ())
    return [part for part in parts if isinstance(part, dict) and "system" in part]


def _phases(old: Any) -> Any:
    if not isinstance(old, list):
        return old
    return [_phase(one) if isinstance(one, dict) and "name" in one else one for one in old]


def _phase(old: Json) -> dict[str, Any]:
    *parts, name = str(old["name"]).split(": ")
    kind, of = PHASES.get(name) or (name.partition(" ")[0], name.partition(" ")[2])
    if kind not in KINDS:  # a plugin's own, which no cost counted
        kind, of = "load", name
    tuned = any(part.startswith(TUNING) for part in parts)
    return {
        **{key: value for key, value in old.items() if key != "name"},
        "kind": kind,
        "part": ": ".join(part for part in parts if not part.startswith(TUNING)),
        "of": of,
        "purpose": "tuning" if tuned else "latency" if of == "one by one" else "answer",
    }
