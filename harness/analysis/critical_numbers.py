"""Trials that are kept as files, and the largest number of documents that a dimension holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from harness.analysis.free_vectors import PAPER, Protocol, Trial, optimise
from harness.analysis.relevance import Relevance, subsets
from harness.disk import foreign, json_sha256, write_whole
from harness.errors import HarnessError, InputError, reason
from harness.progress import Progress, silent

MOST = 1024  # documents
FREE_DIMS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class Trials:
    """Optimisations whose outcome is kept in a folder, a JSON file each, and never made twice.

    Attributes:
        folder: Made where it is not there.
        seed: Of the first draw.
        attempts: Draws, of seeds `seed`, `seed + 1` ..., until one reaches everything.
        device: Of torch; "auto" takes a GPU where there is one.
        protocol: How vectors are optimised.
        progress: Called as work goes on.
        notes: What was odd about the folder, a sentence each.
    """

    folder: Path
    seed: int = 42
    attempts: int = 3
    device: str = "auto"
    protocol: Protocol = PAPER
    progress: Progress = silent
    notes: list[str] = field(default_factory=list)

    def draws(self, relevance: Relevance, dim: int) -> tuple[Trial, ...]:
        """Make attempts, of which only the last may return everything.

        Raises:
            HarnessError: where the folder cannot be used; as `optimise`.
        """
        made: list[Trial] = []
        for seed in range(self.seed, self.seed + self.attempts):
            made.append(self.trial(relevance, dim, seed))
            if made[-1].accuracy == 1:
                break
        return tuple(made)

    def trial(self, relevance: Relevance, dim: int, seed: int) -> Trial:
        """Take an optimisation from its file, or make and keep it.

        Raises:
            HarnessError: where the folder cannot be used; as `optimise`.
        """
        asked: dict[str, object] = asdict(self.protocol)
        if relevance.sizes.min() < relevance.sizes.max():  # where older files counted pairs
            asked["accuracy"] = "mean over queries"
        digest = json_sha256(asked)[:8]
        path = self.folder / f"{relevance.label}-d{dim}-seed{seed}-{digest}.json"
        try:
            kept = self._read(path, (relevance.label, dim, seed, self.protocol))
            if kept is not None:
                return kept
            self.folder.mkdir(parents=True, exist_ok=True)
            made = optimise(
                relevance,
                dim,
                seed=seed,
                device=self.device,
                protocol=self.protocol,
                progress=self.progress,
            )
            whole = json.dumps(asdict(made), indent=2, allow_nan=False) + "\n"
            write_whole(path, whole.encode())
        except OSError as error:
            raise HarnessError(
                f"{path}: cannot be used: {error.strerror or reason(error)}; choose another folder"
            ) from error
        return made

    def _read(self, path: Path, asked: tuple[object, ...]) -> Trial | None:
        """A kept trial, None where there is none; a file that is not one is renamed and noted."""
        if not path.exists():
            return None
        data = foreign.read_bytes(path)
        try:
            trial = TypeAdapter(Trial).validate_json(data)
            if (trial.relevance, trial.dim, trial.seed, trial.protocol) == asked:
                return trial
            wrong = "it holds another trial"
        except ValueError as error:
            wrong = reason(error)
        aside = path.with_name(f"{path.name}.unreadable")
        path.replace(aside)
        self.notes.append(
            f"{path.name} is not the trial that it is named for ({wrong}): "
            f"set aside as {aside.name}, the trial was made again"
        )
        return None


def optimise_ascending(relevance: Relevance, most: int, trials: Trials) -> list[Trial]:
    """Draw free vectors once in each of ever more dimensions, until all is returned.

    Of each query they count as many results as are relevant to it, which is recall at k where k
    are, as in LIMIT.

    Args:
        relevance: What is to be returned.
        most: Dimensions at most, beyond the fewest, which are always tried.
        trials: Where draws come from.
    """
    made: list[Trial] = []
    for dim in FREE_DIMS:
        if made and (dim > most or made[-1].accuracy == 1):
            break
        made.append(trials.trial(relevance, dim, trials.seed))
    return made


@dataclass(frozen=True)
class Critical:
    """The largest number of documents of which free vectors returned every subset of k.

    Attributes:
        dim: Dimensions of the vectors.
        k: Documents of a subset.
        reached: That number; k itself, which needs no vectors, where nothing larger was reached.
        broken: The smallest number that was tried above it, None where the search ended at its
            limit.
        trials: All attempts, by number of documents.
    """

    dim: int
    k: int
    reached: int
    broken: int | None
    trials: tuple[Trial, ...]

    @property
    def seconds(self) -> float:
        """Time that the attempts took."""
        return sum(trial.seconds for trial in self.trials)


def critical_n(dim: int, k: int, trials: Trials, *, most: int = MOST) -> Critical:
    """Find the largest number of documents whose every subset of k fits into `dim` dimensions.

    Doubles the number until the attempts fail, then bisects. The paper makes one draw for each
    number and tries those around the last again; a draw can fail by bad luck, so here a number
    counts as reached when one of the attempts reaches it: what is found can be returned, what is
    not found may still be.

    Args:
        dim: Dimensions of the vectors.
        k: Documents of a subset.
        trials: Where attempts come from.
        most: Documents, at most.

    Raises:
        InputError: for a dimension or a k below 1, for k >= most, and where the subsets do not fit
            into memory.
    """
    if dim < 1 or not 1 <= k < most:
        raise InputError(f"dim={dim}, k={k}: expected a dimension of 1 or more, 1 <= k < {most}")
    made: dict[int, tuple[Trial, ...]] = {}
    reached, broken, n = k, most + 1, min(max(k + 1, 2 * dim), most)
    while reached + 1 < broken:
        made[n] = trials.draws(subsets(n, k), dim)
        if made[n][-1].accuracy == 1:
            reached = n
        else:
            broken = n
        n = min(2 * n, most) if broken > most else (reached + broken) // 2
    found = tuple(trial for number in sorted(made) for trial in made[number])
    return Critical(dim, k, reached, broken if broken <= most else None, found)
