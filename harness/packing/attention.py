"""Attention of each text of a packed batch to itself, in the place of transformers' own."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from harness.packing.batches import Group

if TYPE_CHECKING:
    import torch

NAME = "packed"  # among transformers' attention functions


@cache
def register() -> str:
    """Make the attention known to transformers; gives its name there."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def mask(*asked: Any, attention_mask: torch.Tensor | None = None, **options: Any) -> Any:
        if attention_mask is None:  # nothing is padded
            return None
        return sdpa_mask(*asked, attention_mask=attention_mask, **options)

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, mask)
    return NAME


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *mask: Any,
    **told: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each text of a packed batch to itself; of a padded batch as transformers has it.

    Args:
        module: What attends.
        query: [1, heads, tokens, d] of a packed batch.
        key: Likewise.
        value: Likewise.
        mask: Of a padded batch.
        told: As transformers' own attention takes it, and what `batches.lay_out` says of a batch.

    Returns:
        [1, tokens, heads, d], and None for weights.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa

    groups, starts = told.pop("groups", None), told.pop("cu_seq_lens_q", None)
    if groups is None:
        made, _ = sdpa(module, query, key, value, *mask, **told)
        return made, None
    window = told.pop("sliding_window", None)
    causal = bool(told.get("is_causal", getattr(module, "is_causal", False)))
    if query.is_cuda and query.element_size() == 2:
        return _attend_by_flash((query, key, value), starts, window, causal, told.get("scaling"))
    found = query.new_empty((query.shape[2], query.shape[1], query.shape[3]))
    for group in groups:
        rows, own = _cut(group, (query, key, value))
        made, _ = sdpa(module, *own, _band(group[2], window, causal, query.device), **told)
        found[rows] = made.flatten(0, 1)
    return found[None], None


def _cut(group: Group, own: tuple[torch.Tensor, ...]) -> tuple[slice, list[torch.Tensor]]:
    """The tokens of texts of one length, and what they are made of, [texts, heads, length, d]."""
    start, texts, length = group
    rows = slice(start, start + texts * length)
    parts = [each[0, :, rows].unflatten(1, (texts, length)).transpose(0, 1) for each in own]  # type: ignore[no-untyped-call]
    return rows, parts


@lru_cache(maxsize=64)
def _band(
    length: int, window: int | None, causal: bool, device: torch.device
) -> torch.Tensor | None:
    """Which tokens [length, length] attend to which, where a window tells it."""
    import torch

    if window is None or length <= window:
        return None
    at = torch.arange(length, device=device)
    behind = at[:, None] - at
    return (behind >= 0) & (behind < window) if causal else behind.abs() < window


def _attend_by_flash(
    own: tuple[torch.Tensor, ...],
    starts: torch.Tensor,
    window: int | None,
    causal: bool,
    scale: float | None,
) -> tuple[torch.Tensor, None]:
    """By one call, in 16 bits on a GPU."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (each[0].transpose(0, 1).contiguous() for each in own)
    longest, side = int(starts.diff().max()), -1 if window is None else window - 1
    found: Any = varlen_attn(
        query,
        key,
        value,
        starts,
        starts,
        longest,
        longest,
        scale=scale,
        window_size=(side, 0 if causal else side),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found[None], None
