"""The best of many, chosen on some queries and scored on others."""

from __future__ import annotations

import numpy as np

from harness.arrays import Float64

SPLITS = 200  # random halves of the queries


def choose_elsewhere(gains: Float64, seed: int) -> tuple[Float64, Float64]:
    """What the best of many gains on other queries than chose it, and how often each is best.

    Args:
        gains: Of each choice beside what is used now [m, q].
        seed: Of the random halves.

    Returns:
        What each query gains [q] by the choice that is best on the half of the queries that it is
        not in, mean over SPLITS draws; the share of halves on which each choice is best [m].
    """
    (m, q), random = gains.shape, np.random.default_rng(seed)
    total, times = np.zeros(q), np.zeros(m)
    for _ in range(SPLITS):
        order = random.permutation(q)
        first, second = order[: q // 2], order[q // 2 :]
        for here, there in ((first, second), (second, first)):
            best = gains[:, here].mean(axis=1).argmax()
            total[there] += gains[best, there]
            times[best] += 1
    return total / SPLITS, times / (2 * SPLITS)
