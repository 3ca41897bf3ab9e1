"""Commits: those of a cache and those that the hub is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.sources import files
from harness.sources.folder import folder
from harness.sources.hub import hub
from harness.tasks import catalog
from tests.shared import shared
from tests.sources.hub_frame import BEIR, ONE, OTHER, Tables, datasets, load, save
from tests.sources.writing import (
    complaint,
    write_collection,
    write_rows,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the library's own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_a_query_does_not_find_itself_where_that_is_the_protocol(answers: list[Any]) -> None:
    asked = ("BeIR/arguana", "mteb/quora", "mteb/quora-pl")
    found = [hub(name, revision=ONE).origin.exclude_self for name in asked]
    assert found == [True, True, False]


# the hub


def test_hub_that_is_not_reached() -> None:
    message = complaint(lambda: hub("org/name", revision=ONE))
    assert message.startswith(
        "org/name corpus/corpus cannot be loaded: ConnectionError: Couldn't reach 'org/name' on "
    )
    assert message.endswith(
        "; check name, revision and network (HF_HUB_OFFLINE is set), name a folder with the same "
        "tables, or bring the dataset to the cache (HF_HOME)"
    )


@pytest.fixture
def cached(tmp_path: Path, cache: Path) -> Callable[[str], None]:
    """Puts the collection into the library's cache as org/name at a commit, as it does itself."""

    def put(commit: str, configs: Tables = BEIR) -> None:
        for config, splits in configs.items():
            ((split, rows),) = splits.items()
            path = write_rows(tmp_path / "raw" / commit / f"{config}.jsonl", rows)
            made = datasets.load_dataset("json", data_files={split: str(path)}, split=split)
            built = Path(made.cache_files[0]["filename"])
            there = cache / "org___name" / config / "0.0.0" / commit
            shutil.copytree(built.parent, there)
            (there / built.name).rename(there / f"name-{split}.arrow")
            about = json.loads((there / "dataset_info.json").read_text())
            about |= {"config_name": config, "dataset_name": "name"}
            (there / "dataset_info.json").write_text(json.dumps(about))

    return put


def test_cache_serves_the_commit_that_was_asked_for(
    cached: Callable[[str], None], tmp_path: Path
) -> None:
    cached(ONE)
    data = hub("org/name", revision=ONE)
    assert data.fingerprint() == folder(str(write_collection(tmp_path / "x"))).fingerprint()
    assert data.warnings == ()
    assert data.origin.reference == f"https://huggingface.co/datasets/org/name/tree/{ONE}"


def test_another_commit_of_the_cache_is_refused(cached: Callable[[str], None]) -> None:
    """Where the hub does not answer, `datasets` takes whatever commit its cache holds."""
    cached(ONE)
    assert complaint(lambda: hub("org/name", revision=OTHER)) == (
        f"org/name corpus/corpus: the cache holds commit {ONE} and the hub does not give {OTHER}: "
        "check it and the network, or ask for the one that is there"
    )


@pytest.mark.parametrize("revision", [None, "main", ONE[:7]])
def test_what_is_not_pinned_is_a_warning_with_its_commit(
    cached: Callable[[str], None], revision: str | None
) -> None:
    cached(ONE)
    note = f"org/name may change (read at {ONE}): add revision=COMMIT"
    assert hub("org/name", revision=revision).warnings == (note,)


def test_tables_of_different_commits_are_refused(cached: Callable[..., None]) -> None:
    cached(ONE, {name: BEIR[name] for name in ("corpus", "queries")})
    cached(OTHER, {"default": BEIR["default"]})
    assert complaint(lambda: hub("org/name")) == (
        f"org/name: its tables were read at the commits {ONE} and {OTHER}: add revision=COMMIT"
    )


def test_config_that_the_cache_does_not_hold(cached: Callable[..., None]) -> None:
    cached(ONE, {"corpus": BEIR["corpus"]})
    assert complaint(lambda: hub("org/name", revision=ONE)) == (
        "org/name queries/queries cannot be loaded: ValueError: Couldn't find cache for org/name "
        "for config 'queries' Available configs in the cache: ['corpus']"
    )


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the hub is asked; an exception put in first is what it answers."""
    asked: list[Any] = []

    def ask(*args: object, **options: object) -> object:
        asked.append((args, options))
        if isinstance(asked[0], Exception):
            raise asked[0]
        config = str(args[1])
        rows = BEIR[config][str(options["split"])]
        return datasets.Dataset.from_list(list(rows))

    monkeypatch.setattr(datasets, "load_dataset", ask)
    return asked


def test_what_the_hub_is_asked(answers: list[Any]) -> None:
    data = hub("org/name", revision=ONE)
    unknown = "the commit that was read is not known"
    assert data.warnings == (f"org/name: {unknown}",)
    assert answers == [
        (("org/name", config), {"split": split, "revision": ONE})
        for config, split in [("corpus", "corpus"), ("queries", "queries"), ("default", "test")]
    ]
    assert data.origin.reference == "https://huggingface.co/datasets/org/name"
    note = f"org/name may change ({unknown}): add revision=COMMIT"
    assert hub("org/name").warnings == (note,)


@pytest.mark.parametrize(
    "answer",
    [
        datasets.exceptions.DatasetNotFoundError("Dataset 'org/name' doesn't exist on the Hub"),
        datasets.exceptions.DatasetNotFoundError("Revision 'v9' doesn't exist for 'org/name'"),
        ConnectionError("Couldn't reach 'org/name' on the Hub (ConnectError)"),
        RuntimeError("Dataset scripts are no longer supported, but found name.py"),
    ],
)
def test_what_the_hub_refuses(answers: list[Any], answer: Exception) -> None:
    answers.append(answer)
    message = complaint(lambda: hub("org/name"))
    assert message.startswith(
        f"org/name corpus/corpus cannot be loaded: {type(answer).__name__}: {answer}; check name, "
    )
    assert "name a folder with the same tables" in message


def test_token_is_not_told(answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    answers.append(OSError("401 for\nhf_secret"))
    message = complaint(lambda: hub("org/name"))
    assert "401 for ***;" in message
    assert "hf_secret" not in message


def test_revision_of_a_folder_is_not_checked(tmp_path: Path) -> None:
    root = save(tmp_path)
    note = f"revision=main is not checked: {root} is a folder"
    assert load(root, revision="main").warnings == (note,)


def test_limit_small_of_a_folder_in_place_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shared("limit-small")
    paths = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "default": "qrels/test.tsv"}
    splits = {"corpus": "corpus", "queries": "queries", "default": "test"}
    tables = {
        config: {splits[config]: [row for _, row in files.rows(source / path)]}
        for config, path in paths.items()
    }
    save(tmp_path / "orionweller" / "LIMIT-small", tables)
    monkeypatch.chdir(tmp_path)
    data = catalog.task("limit-small:hub").load()
    assert data.fingerprint() == folder(str(source)).fingerprint()
