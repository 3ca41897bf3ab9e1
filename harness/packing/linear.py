"""Linear layers of a model on a processor, with weights laid out once as oneDNN multiplies them.

A row comes to the same bits whatever the other rows are, as long as there are two, with any number
of threads. Of transformers' own layers the activation is computed in the same pass.
"""

from __future__ import annotations

import torch
from torch import nn

PRECISIONS = (torch.float32, torch.bfloat16)
ROWS = 1024  # of the products that the layout is chosen for


class LaidOut(nn.Module):
    """A linear layer, its weights in oneDNN's layout."""

    def __init__(self, own: nn.Linear, activation: str = "none") -> None:
        """Lay out the weights.

        Args:
            own: The layer.
            activation: What follows it: "gelu" as it is defined, or "none".
        """
        super().__init__()
        self.in_features, self.out_features = own.in_features, own.out_features
        self.activation = activation
        weight = own.weight.detach().contiguous()
        self.laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self.bias = None if own.bias is None else own.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply [..., in] to [..., out]."""
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.laid_out, self.bias, self.activation, [], "none"
        )
        return made


def lay_out_weights(model: nn.Module) -> None:
    """Lay out the linear layers of a model that is on a processor, in place.

    Nothing is done for other devices, other precisions than float32 and bfloat16, and builds of
    torch without oneDNN.

    Args:
        model: A model that computes nothing but inference from now on.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear) and _fits(layer):
                fused = name == "dense" and _followed_by_gelu(parent)
                setattr(parent, name, LaidOut(layer, "gelu" if fused else "none"))
                if fused:
                    parent.intermediate_act_fn = nn.Identity()


def _fits(layer: nn.Linear) -> bool:
    """Whether oneDNN computes what the layer does, which a class of its own may not say."""
    weight = layer.weight
    return (
        type(layer) is nn.Linear
        and weight.device.type == "cpu"
        and weight.dtype in PRECISIONS
        and min(weight.shape) > 1
    )


def _followed_by_gelu(parent: nn.Module) -> bool:
    """Whether a part of a BERT-like layer is its first product and the exact GELU."""
    from transformers.activations import GELUActivation

    activation = getattr(parent, "intermediate_act_fn", None)
    exact = isinstance(activation, GELUActivation) and activation.act is nn.functional.gelu
    return exact or (isinstance(activation, nn.GELU) and activation.approximate == "none")
