"""Which models read packed batches, and whether these come to what padded ones do.

A model is packed where its architecture computes attention by a function that can be replaced, and
where a dozen texts come to the same as before. Any other is left as it is, and what is asked of it
goes through the library's own `encode`.
"""

from __future__ import annotations

from typing import Any

import torch

from harness.packing.attention import register
from harness.packing.batches import Examples
from harness.packing.linear import lay_out_weights
from harness.packing.model import RAGGED, Packed, Take, Tokenised

TASKS = ("feature-extraction", "fill-mask", "sequence-classification")
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-4, torch.bfloat16: 1e-3}  # of 1 - cosine
BOUNDS = {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "groups"}

CACHED = 1_024  # tokens of a batch on a processor: what lies between two layers stays in its cache
LEAST, MOST = 4_096, 65_536  # tokens of a batch on another device
SHARE = 0.2  # of a device's memory that what lies between two layers may fill


class _FirstTokens(torch.nn.Module):
    """The body of a classifier; of a packed batch it gives the first token of each text alone.

    That is what classifiers read, in a batch [n, 1, d].
    """

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, *asked: Any, **options: Any) -> Any:
        made = self.body(*asked, **options)
        starts = options.get("cu_seq_lens_q")
        if starts is None:
            return made
        made.last_hidden_state = made.last_hidden_state[0, starts[:-1].long()][:, None]
        if getattr(self.body, "pooler", None) is not None:
            made.pooler_output = self.body.pooler(made.last_hidden_state)
        return made

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.body, name)


def pack(
    model: Any, take: Take, examples: Examples, batch_tokens: int | None
) -> Packed | str | None:
    """Have a model read packed batches.

    Args:
        model: The model, which is changed: where a reason is given it must be loaded anew.
        take: Takes what is compared from what the model makes of so many texts.
        examples: What is compared.
        batch_tokens: Tokens of a batch; None for as many as suit the device.

    Returns:
        The model as it reads packed batches; why it does not, where it ought to; None where its
        kind does not.
    """
    if not _fits(model):
        return None
    try:
        expected = _read_padded(model, examples, take)
        if not all(bool(one.isfinite().all()) for one in expected):
            return None  # nothing can be compared, and whoever asks for vectors is told
        _change(model)
        packed = Packed(model, batch_tokens or _choose_batch_tokens(model))
        found = _read_packed(packed, examples, take)
    except Exception as error:  # noqa: BLE001  models are code of others
        return f"they raise {type(error).__name__} where they are packed"
    deviation = max(_differ(one, other) for one, other in zip(expected, found, strict=True))
    if not deviation <= TOLERANCE[model.dtype]:
        return f"packed ones make vectors that differ by {deviation:.1e} (1 - cosine)"
    return packed


def _fits(model: Any) -> bool:
    """Whether a model's kind can be packed: what transformers computes, of text, by attention."""
    first = model[0]
    body = getattr(first, "model", None)
    return (
        getattr(first, "transformer_task", None) in TASKS
        and first.backend == "torch"
        and getattr(body, "is_backend_compatible", lambda: False)()
        and set(first.modality_config) == {"text"}
        and first.modality_config["text"]["method"] == "forward"
        and getattr(model.tokenizer, "is_fast", False)
        and model.dtype in TOLERANCE
    )


def _change(model: Any) -> None:
    """Let a model attend to each text of a packed batch alone, and multiply faster."""
    first = model[0]
    body = first.model
    body.set_attn_implementation(register())
    if first.model_forward_params is not None:
        first.model_forward_params |= BOUNDS
    if first.transformer_task == "sequence-classification":
        name = body.base_model_prefix
        setattr(body, name, _FirstTokens(getattr(body, name)))
    lay_out_weights(body)


def _read_padded(model: Any, examples: Examples, take: Take) -> list[torch.Tensor]:
    """What is taken of each text, as the library reads it."""
    task = {} if examples.role == "text" else {"task": examples.role}
    made = model.preprocess(list(examples.inputs), prompt=examples.prompt or None, **task)
    batch = {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in made.items()}
    with torch.inference_mode():
        return list(take(dict(model(batch, **task)), len(examples.inputs)))


def _read_packed(packed: Packed, examples: Examples, take: Take) -> list[torch.Tensor]:
    """The same of a packed batch."""
    made = packed.preprocess(examples.inputs, examples.role, examples.prompt, RAGGED)
    tokens = Tokenised.of(made, len(examples.inputs))
    features = packed.read(tokens.rows, tokens.context, examples.role)
    return list(take(features, len(examples.inputs)))


def _differ(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest 1 - cosine of two rows; of single numbers, half their squared difference.

    The numbers are then relative to the largest one. Infinite for different shapes.
    """
    if one.shape != other.shape:
        return float("inf")
    if not one.is_floating_point() or not one.numel():
        return 0.0 if torch.equal(one, other) else float("inf")
    one, other = one.double().cpu(), other.double().cpu()
    if one.ndim < 2 or one.shape[1] == 1:
        return float(((one - other).abs().max() / one.abs().max().clamp(min=1e-9)) ** 2 / 2)
    rows = torch.nn.functional.normalize(one), torch.nn.functional.normalize(other)
    return float((rows[0] - rows[1]).square().sum(1).max() / 2)


def _choose_batch_tokens(model: Any) -> int:
    """Tokens of a batch that a processor's cache, or the memory of another device, holds."""
    if model.device.type != "cuda":
        return CACHED
    config = model[0].model.config
    wide = max(getattr(config, "intermediate_size", 0), 4 * config.hidden_size)
    if model[0].transformer_task == "fill-mask":
        wide += 2 * config.vocab_size
    bytes_each = 4 * wide * model.dtype.itemsize
    _, memory = torch.cuda.mem_get_info(model.device)  # all of it: the same in every run
    return int(min(max(memory * SHARE / bytes_each, LEAST), MOST))
