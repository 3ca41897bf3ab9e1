"""Tables of the Hugging Face hub, or of a folder, by the `datasets` library.

A table is named CONFIG/SPLIT. In place of ORG/NAME may stand a folder that holds, for each CONFIG,
what `DatasetDict.save_to_disk` wrote or files whose splits `datasets` knows by their names; or a
whole copy of a repository of the hub. Code that a dataset brings is never run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from harness import optional
from harness.data import Origin
from harness.data.rows import Row
from harness.errors import InputError
from harness.registry import unknown
from harness.sources import files
from harness.sources.assembly import leaves_own_out

BATCH = 8192  # rows that are Python objects at a time
TEXT = (".csv", ".tsv", ".json", ".jsonl")
COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Tables:
    """The tables of one dataset, each loaded once."""

    target: str
    revision: str | None
    loaded: dict[str, Any] = field(default_factory=dict)

    def place(self, part: str) -> str:
        """What errors call a table."""
        return f"{self.target} {part}"

    def rows(
        self, part: str, *columns: str | None, optional: str = "title"
    ) -> Iterator[tuple[str, Row]]:
        """Yield the place and the columns of each row.

        None and "" are no column. Raises InputError for one that is missing and not `optional`.
        """
        if part not in self.loaded:
            self.loaded[part] = _load(self.target, self.revision, part)
        table, place = self.loaded[part], self.place(part)
        wanted = [name for name in dict.fromkeys(columns) if name]
        read = table.rows if isinstance(table, _TextTable) else partial(_read_typed, table)
        return read(wanted, place, optional)

    def provenance(self) -> tuple[Origin, list[str]]:
        """Where the tables came from, and a sentence where that is not certain.

        Raises InputError where they were read at different commits.
        """
        own = leaves_own_out(self.target)
        if Path(self.target).expanduser().is_dir():
            note = f"revision={self.revision} is not checked: {self.target} is a folder"
            return Origin(exclude_self=own), [note] if self.revision else []
        commits = sorted({commit for commit in map(_commit, self.loaded.values()) if commit})
        if len(commits) > 1:
            raise InputError(
                f"{self.target}: its tables were read at the commits {' and '.join(commits)}: "
                "add revision=COMMIT"
            )
        page, notes = f"https://huggingface.co/datasets/{self.target}", []
        at = f"read at {commits[0]}" if commits else "the commit that was read is not known"
        if not COMMIT.fullmatch(self.revision or ""):
            notes = [f"{self.target} may change ({at}): add revision=COMMIT"]
        elif not commits:
            notes = [f"{self.target}: {at}"]
        if any(map(_is_guessed, self.loaded.values())):
            notes.append(
                f"{self.target} is CSV, whose types the cache has guessed (007 is 7, NULL is "
                "none): read it where the hub is reached to have every cell as text"
            )
        page = f"{page}/tree/{commits[0]}" if commits else page
        return Origin(reference=page, exclude_self=own), notes


@dataclass(frozen=True)
class _TextTable:
    """Files whose cells are text: `datasets` would guess what they are, 007 a number, NULL none.

    separator: of CSV.
    """

    paths: Sequence[Path]
    separator: str

    def rows(self, wanted: Sequence[str], place: str, optional: str) -> Iterator[tuple[str, Row]]:
        """Rows as they stand in the files; see `Tables.rows`."""
        there = dict[str, None]()
        for path in self.paths:
            for where, row in self._read(path):
                there |= dict.fromkeys(row)
                yield where, row
        for name in wanted:
            if there and name not in there and name != optional:
                raise unknown(f"column of {place}", name, there)

    def _read(self, path: Path) -> Iterator[tuple[str, Row]]:
        kind = path.name.removesuffix(".gz")
        if kind.endswith(".json"):
            return files.read_json(path)
        if kind.endswith(".csv"):
            return files.read_csv(path, self.separator)
        return files.rows(path)


def _read_typed(
    table: Any, wanted: Sequence[str], place: str, optional: str
) -> Iterator[tuple[str, Row]]:
    """Rows of a table of `datasets`; see `Tables.rows`."""
    there = table.column_names
    wanted = [name for name in wanted if name in there or name != optional]
    for name in wanted:
        if name not in there:
            raise unknown(f"column of {place}", name, there)
    number = 0
    for batch in table.select_columns(wanted).with_format("arrow").iter(BATCH):
        for row in batch.to_pylist():
            number += 1
            yield f"{place} row {number}", row


def _load(target: str, revision: str | None, part: str) -> Any:
    """The table CONFIG/SPLIT as a `datasets.Dataset`."""
    config, _, split = part.rpartition("/")
    if not config or not split:
        raise InputError(f"{target}: {part!r} is no table: expected CONFIG/SPLIT")
    datasets = optional.load("datasets", "hub")
    import huggingface_hub

    for library in (datasets, huggingface_hub.utils):
        library.disable_progress_bars()
        library.logging.set_verbosity(logging.CRITICAL)
    root = Path(target).expanduser()
    try:
        if root.is_dir():
            return _local(root, config, split)
        table = _load_whole(target, config, split=split, revision=revision)
    except InputError:
        raise
    except Exception as error:  # datasets, the hub's client and file systems raise their own
        raise _refusal(f"{target} {part}", error, local=root.is_dir()) from error
    commit = _commit(table)
    if COMMIT.fullmatch(revision or "") and commit not in (None, revision):
        raise InputError(  # datasets takes any commit of its cache where the hub does not answer
            f"{target} {part}: the cache holds commit {commit} and the hub does not give "
            f"{revision}: check it and the network, or ask for the one that is there"
        )
    return table


def _refusal(place: str, error: BaseException, *, local: bool) -> InputError:
    """What went wrong and what to do, on one line, without the user's token."""
    import datasets
    import huggingface_hub

    if isinstance(error, datasets.exceptions.DatasetGenerationError):  # says nothing itself
        error = error.__cause__ or error
    said = " ".join(str(error).split()).replace(huggingface_hub.get_token() or "\0", "***")
    advice = ""
    if not local and not isinstance(error, ValueError):  # of a config or split: lists what is there
        offline = " (HF_HUB_OFFLINE is set)" if datasets.config.HF_HUB_OFFLINE else ""
        advice = (
            f"; check name, revision and network{offline}, name a folder with the same tables, or "
            "bring the dataset to the cache (HF_HOME)"
        )
    return InputError(f"{place} cannot be loaded: {type(error).__name__}: {said[:250]}{advice}")


def _local(root: Path, config: str, split: str) -> Any:
    """A table of a folder: of `datasets`, or of text."""
    import datasets

    folder = root / config
    if config == "default" and not folder.is_dir():
        folder = root
    if (folder / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(str(folder))
        if split not in saved:
            raise unknown(f"split of {folder}", split, map(str, saved))
        return saved[split]
    described = []
    if (root / "README.md").is_file():
        described = datasets.get_dataset_config_names(str(root))
    if config in described:
        named = [str(root), config]
    elif folder.is_dir():
        named = [str(folder)]
    else:
        there = [path.name for path in root.iterdir() if path.is_dir()]
        raise unknown(f"config of {root}", config, {*described, *there})
    text = _find_text(datasets.load_dataset_builder(*named).config, folder, split)
    return text or _load_whole(*named, split=split)


def _load_whole(*named: str, **options: str | None) -> Any:
    """A table as `datasets` has it, but the cells of CSV as text.

    A second reading makes them so, which names the columns that the first has found; what the
    cache holds of a hub that is not reached stays as it was guessed.
    """
    import datasets

    table = datasets.load_dataset(*named, **options)
    if table.info.builder_name != "csv":
        return table
    texts = datasets.Features({name: datasets.Value("string") for name in table.column_names})
    try:
        return datasets.load_dataset(*named, features=texts, na_filter=False, **options)
    except (OSError, ValueError):
        return table


def _is_guessed(table: Any) -> bool:
    """Whether a table of CSV has cells that may not be what stands in its file."""
    of_csv = table.info.builder_name == "csv"
    return of_csv and any(kind.dtype != "string" for kind in table.features.values())


def _find_text(config: Any, folder: Path, split: str) -> _TextTable | None:
    """The files of a split if all of them are of text and are read as usual; else None."""
    splits = {str(name): list(map(Path, paths)) for name, paths in config.data_files.items()}
    if split not in splits:
        raise unknown(f"split of {folder}", split, splits)
    usual = {each.name: each.default for each in fields(config)}
    asked = {name for name, value in vars(config).items() if name in usual and value != usual[name]}
    if asked - {"name", "data_dir", "data_files", "description", "version", "sep", "delimiter"}:
        return None
    if not all(path.name.removesuffix(".gz").endswith(TEXT) for path in splits[split]):
        return None
    read_as = vars(config)  # of JSON Lines nothing parts cells
    return _TextTable(splits[split], read_as.get("delimiter") or read_as.get("sep") or ",")


def _commit(table: Any) -> str | None:
    """The commit that a table was read at: its folder of the cache is named by it."""
    names = {Path(file["filename"]).parent.name for file in table.cache_files}
    return next((name for name in names if COMMIT.fullmatch(name)), None)
