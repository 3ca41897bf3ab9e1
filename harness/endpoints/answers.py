"""Answers of a model on disk, found by what was asked: no question is paid for twice.

FOLDER/KEY.json     {"asked": {...}, "answer": "..."}; KEY is the SHA-256 of what was asked
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import disk
from harness.disk import foreign
from harness.errors import InputError, StoreError


@dataclass(frozen=True)
class ResponseCache:
    """A folder of answers, each a file that is whole or absent."""

    folder: Path

    def find(self, asked: Mapping[str, object]) -> str | None:
        """The answer to this very question; None where it is not kept or its file is damaged."""
        try:
            kept = foreign.read_json(self._path(asked))
            answer = kept["answer"] if kept["asked"] == asked else None
        except (InputError, KeyError, TypeError):
            return None
        return answer if isinstance(answer, str) else None

    def keep(self, asked: Mapping[str, object], answer: str) -> None:
        """Write an answer. Raises StoreError where the folder cannot be written."""
        text = json.dumps({"asked": asked, "answer": answer}, indent=1, sort_keys=True)
        remedy = "answers kept before are not lost. Free space, or choose another place with "
        with disk.writing(self.folder, remedy + "HARNESS_CACHE", StoreError):
            self.folder.mkdir(parents=True, exist_ok=True)
            disk.write_whole(self._path(asked), text.encode())

    def _path(self, asked: Mapping[str, object]) -> Path:
        return self.folder / f"{disk.json_sha256(asked)}.json"
