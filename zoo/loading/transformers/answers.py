"""What a text encoder answers: features over layers and tokens, and logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# A batch of texts is (B, 2, L) whole numbers: the tokens and the mask, which is 1 where a token is.


def answers(module: Any, batch: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features (B, D) and logits (B, C_t), or None without a head, of texts (B, 2, L).

    Features are the mean over the outputs of all layers (that of the embeddings, which knows no
    context, is left out) and over the tokens of the text, special ones among them.
    """
    return upper_answers(module, batch, None)


def answers_by_length(module: Any, batch: Tensor) -> tuple[Tensor, Tensor | None]:
    """As ``answers``, of a network that sees padding: texts of one length are run together."""
    import torch

    lengths = batch[:, 1].sum(1)
    order: list[Tensor] = []
    features: list[Tensor] = []
    logits: list[Tensor] = []
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero().flatten()
        answer = answers(module, batch[rows, :, :length])
        order.append(rows)
        features.append(answer[0])
        logits += [] if answer[1] is None else [answer[1]]
    back = torch.cat(order).argsort()
    return torch.cat(features)[back], torch.cat(logits)[back] if logits else None


def upper_answers(
    module: Any,
    batch: Tensor,
    layers: int | None,
) -> tuple[Tensor, Tensor | None]:
    """As ``answers``, with features of the last ``layers`` layers alone (None: of all)."""
    import torch

    tokens, mask = batch.unbind(1)
    outputs = module(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    states = outputs.hidden_states[1:] if layers is None else outputs.hidden_states[-layers:]
    with torch.autocast(batch.device.type, enabled=False):
        features = mean_of_tokens(sum(state.float() for state in states) / len(states), mask)
    return features, outputs.logits if "logits" in outputs else None


def mean_of_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """(B, D): the mean of (B, L, D) over the positions where ``mask`` (B, L) is 1."""
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
