"""The training of the small zoo's text teachers: tokenizer, network, loop.

Shapes: N texts of at most L tokens, B of a batch with l tokens, C classes, D features imitated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.build.clinc150 import LabelledTexts
from benchmarks.build.make_small_zoo import batch_rows
from benchmarks.build.text_recipes import TextRecipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

SEED = 2026
LENGTH = 40  # tokens of a text
_MASKED = 0.15  # of the tokens, in training


def tokenizer_of(recipe: TextRecipe, texts: Sequence[str]) -> Tokenizer:
    """A tokenizer of the kind of the recipe's family, with a vocabulary of ``texts``."""
    from distill.data.vocabulary import train_tokenizer

    if recipe.family == "Roberta":
        tokenizer = _byte_pairs(texts, recipe.words)
    else:
        tokenizer = train_tokenizer(texts, recipe.words)
    tokenizer.enable_truncation(LENGTH)
    return tokenizer


def _byte_pairs(texts: Sequence[str], words: int) -> Tokenizer:
    """RoBERTa's kind of tokenizer, of pairs of bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        min_frequency=2,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    built: Tokenizer = tokenizer
    return built


def _special(tokenizer: Tokenizer, name: str) -> int:
    """The number of the special token ``pad`` or ``mask``, as BERT or RoBERTa write it."""
    numbers = (tokenizer.token_to_id(word) for word in (f"[{name.upper()}]", f"<{name}>"))
    return next(number for number in numbers if number is not None)


def network_of(recipe: TextRecipe, texts: LabelledTexts, tokenizer: Tokenizer) -> Any:
    """The network of transformers, weights drawn from the seed: a classifier, or an encoder."""
    import torch
    import transformers

    padding = _special(tokenizer, "pad")
    names = dict(enumerate(name.replace("_", " ") for name in texts.classes))
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    config = getattr(transformers, f"{recipe.family}Config")(
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=padding,
        max_position_embeddings=LENGTH + (padding + 1 if recipe.family == "Roberta" else 0),
        **_sizes(recipe),
        **({} if recipe.imitates else labels),
    )
    torch.manual_seed(SEED)
    end = "Model" if recipe.imitates else "ForSequenceClassification"
    return getattr(transformers, f"{recipe.family}{end}")(config)


def _sizes(recipe: TextRecipe) -> dict[str, int]:
    """The sizes of the network by its family's names."""
    sizes = {
        "hidden_size": recipe.width,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.width // 16,
        "intermediate_size": 2 * recipe.width,
    }
    if recipe.family == "DistilBert":
        return dict(zip(("dim", "n_layers", "n_heads", "hidden_dim"), sizes.values(), strict=True))
    return sizes


def train_classifier(
    recipe: TextRecipe,
    network: Any,
    tokenizer: Tokenizer,
    texts: LabelledTexts,
    steps: int | None,
) -> None:
    """Train ``network`` on the labels, with label smoothing 0.1.

    A second classifier, which is left out, reads the mean over layers and tokens, of which the
    features of a teacher are made.
    """
    import torch
    import torch.nn.functional as F

    labels = torch.tensor(texts.labels)

    def loss(outputs: Any, read: Tensor, rows: Tensor) -> Tensor:
        wanted = labels[rows]
        own = F.cross_entropy(outputs.logits, wanted, label_smoothing=0.1)
        return (own + F.cross_entropy(read, wanted, label_smoothing=0.1)) / 2

    _train(recipe, network, len(texts.classes), tokenizer, texts.texts, loss, steps)


def train_encoder(
    recipe: TextRecipe,
    network: Any,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    targets: Tensor,  # (N, D)
    steps: int | None,
) -> None:
    """Train the mean over layers and tokens to tell ``targets`` by a linear map, which is left
    out.
    """
    import torch.nn.functional as F

    def loss(outputs: Any, read: Tensor, rows: Tensor) -> Tensor:
        return F.mse_loss(read, targets[rows])

    _train(recipe, network, targets.shape[1], tokenizer, texts, loss, steps)


def _train(
    recipe: TextRecipe,
    network: Any,
    width: int,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    loss_of: Callable[[Any, Tensor, Tensor], Tensor],
    steps: int | None,
) -> None:
    """AdamW on one cycle; a share of the tokens is masked.

    ``loss_of`` takes the network's outputs, a linear map (B, width) of the mean over its layers and
    tokens, and the rows (B,).
    """
    import torch

    draw = torch.Generator().manual_seed(SEED)
    padding, mask = _special(tokenizer, "pad"), _special(tokenizer, "mask")
    tokens = _tokens(tokenizer, texts, padding)  # (N, L)
    total = steps or recipe.epochs * (len(tokens) // 128)
    reader = torch.nn.Linear(network.config.hidden_size, width)
    weights = [*network.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=total, pct_start=0.2
    )
    network.train()
    for rows in batch_rows(len(tokens), total, draw):
        batch = tokens[rows]
        batch = batch[:, : int(batch.ne(padding).sum(1).max())]  # (B, l)
        present = batch.ne(padding)
        hidden = torch.rand(batch.shape, generator=draw) < _MASKED
        hidden &= present & (batch > mask)  # numbers up to the mask's are special
        outputs = network(
            input_ids=batch.masked_fill(hidden, mask),
            attention_mask=present.long(),
            output_hidden_states=True,
        )
        layers = torch.stack(outputs.hidden_states[1:]).mean(0)  # (B, l, c)
        features = (layers * present[..., None]).sum(1) / present.sum(1, keepdim=True)  # (B, c)
        loss = loss_of(outputs, reader(features), rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    network.eval()


def _tokens(tokenizer: Tokenizer, texts: Sequence[str], padding: int) -> Tensor:
    """(N, L) int64, filled up with ``padding``."""
    import torch

    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    tokens = torch.full((len(rows), max(map(len, rows))), padding)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return tokens
