"""A card's weights, loaded and frozen: raw images or texts in, features and logits out."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.card import ModelCard
from zoo.errors import TeacherError
from zoo.loading.inputs.ahead import in_order
from zoo.loading.inputs.image_preparation import ImagePreparation
from zoo.loading.inputs.preprocessing import Preprocessing, preprocessing_of
from zoo.loading.inputs.text_preparation import TextPreparation
from zoo.loading.inputs.tokenization import Tokenization
from zoo.loading.network import Network
from zoo.loading.network import load as load_network
from zoo.loading.outputs import Outputs, as_array, pooled
from zoo.loading.transformers.network import head_inputs
from zoo.terminal.command import exhausted_memory

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    Array = NDArray[np.float32]

__all__ = ["Loaded", "Outputs", "Preprocessing", "Teacher", "load_ahead", "preprocessing_of"]

_MOST_WORKERS = 16


class Teacher:
    """One loaded model, frozen and in eval mode; made by ``Teacher.load``.

    Attributes
    ----------
    card : ModelCard
        Where it came from.
    module : torch.nn.Module
        The network itself.
    device : torch.device
        On CUDA the network runs in bfloat16 by autocast; outputs are float32 everywhere.
    preprocessing : Preprocessing or Tokenization
        How it wants its images, or its texts.
    inputs : ImagePreparation or TextPreparation
        What makes its inputs of them.
    feature_dim : int
        D, the width of the pooled features.
    num_classes : int
        C_t, the number of logits; 0 without a head.
    library : str
        ``timm`` or ``transformers``.
    sees_padding : bool
        Whether texts of one batch must be of one length before the layers, see ``Network``.
    labels : tuple of str, optional
        C_t class names in the order of the logits, where they are known.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Network,
        preprocessing: Preprocessing | Tokenization,
        *,
        device: str,
    ) -> None:
        import torch

        self.card = card
        self.device = torch.device(device)
        self.preprocessing = preprocessing
        self.inputs: ImagePreparation | TextPreparation
        if isinstance(preprocessing, Tokenization):
            self.inputs = TextPreparation(preprocessing, network.module, self.device)
        else:
            self.inputs = ImagePreparation(preprocessing, self.device)
        self.num_classes = network.num_classes
        self.labels = card.labels if card.labels and len(card.labels) == self.num_classes else None
        self.module = network.module.to(self.device).to(memory_format=torch.channels_last)
        self.library = network.library
        self._network = network
        self.sees_padding = network.sees_padding
        self._heads = _heads(network)
        self._last = self._heads[-1] if self._heads else None
        # whether the last layer applied to the features gives the logits: checked below
        self._linear = False
        self.feature_dim = self._check_outputs()

    @classmethod
    def load(
        cls,
        card: ModelCard,
        *,
        device: str = "cpu",
        offline: bool = False,
        largest: int | None = None,
    ) -> Teacher:
        """Load the model of a card.

        Parameters
        ----------
        card : ModelCard
            A card of the catalogue.
        device : str
            ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        offline : bool
            Make no network call; weights that are not on this machine are then an error.
        largest : int, optional
            Pixels. A model whose input is larger looks at images of that size (most networks can;
            one that cannot is built for it where timm knows how). That is several times faster, and
            for small images as good.

        Raises
        ------
        TeacherError
            On any fault of the model, with the reason.
        """
        from zoo.loading.download import fetch

        folder = fetch(card, offline=offline)
        preprocessing = preprocessing_of(card, folder).at_most(largest)
        return cls(card, load_network(folder, preprocessing), preprocessing, device=device)

    @property
    def modality(self) -> str:
        """``image`` or ``text``."""
        return self.inputs.modality

    def prepare(self, sample: Any) -> Tensor:
        """An image resized and cut as the model wants it: (3, H, W) uint8; or a text as the numbers
        of its tokens: (n,) int64, cut at the model's length. On the CPU; safe in threads.
        """
        return self.inputs.prepare(sample)

    def collate(self, prepared: Sequence[Tensor]) -> Tensor:
        """Prepared samples as a batch on the CPU: images (B, 3, H, W) uint8; texts (B, 2, L) int64,
        tokens and mask, padded to the longest.
        """
        return self.inputs.collate(prepared)

    def normalise(self, batch: Tensor) -> Tensor:
        """A batch on the device, as ``forward`` takes it: images (B, 3, H, W), uint8 or float in
        [0, 1] -> float32; texts as they are.
        """
        return self.inputs.normalise(batch)

    def view(self, pixels: Tensor) -> Tensor:
        """A training view (B, 3, h, w), float in [0, 1] on the device, as the model's (B, 3, H, W).

        The view is a crop already, so it is resized and nothing more is cut off: the teacher sees
        what the student sees. Smooth filters are antialiased; a model that wants nearest neighbours
        gets them. A batch of texts stays as it is.
        """
        return self.inputs.view(pixels)

    def forward(self, inputs: Tensor) -> Outputs[Tensor]:
        """A normalised batch, on the device -> ``Outputs`` of tensors, without gradients."""
        import torch

        with torch.no_grad():
            return self.forward_with_gradient(inputs)

    def forward_with_gradient(self, inputs: Tensor) -> Outputs[Tensor]:
        """As ``forward``, with gradient to whatever in the network asks for it."""
        with self.autocast():
            if self.library == "timm":
                module: Any = self.module
                return self.finish(module.forward_features(inputs))
            if self._network.answers is not None:
                return self._to_outputs(*self._network.answers(self.module, inputs))
            features, logits = head_inputs(self.module, inputs, self._heads)
            return self._to_outputs(pooled(features), logits)

    def with_module(self, module: nn.Module) -> Teacher:
        """The same teacher around ``module``, a copy of its network."""
        other = copy.copy(self)
        other.module = module
        other._network = replace(self._network, module=module)
        other._heads = _heads(other._network)
        other._last = other._heads[-1] if other._heads else None
        return other

    def finish(self, hidden: Tensor) -> Outputs[Tensor]:
        """The ``Outputs`` for what ``forward_features`` of a timm network returns, with gradient to
        it.
        """
        module: Any = self.module
        features = pooled(module.forward_head(hidden, pre_logits=True))
        needs_head = self.num_classes and not self._linear
        return self._to_outputs(features, module.forward_head(hidden) if needs_head else None)

    def _to_outputs(self, features: Tensor, logits: Tensor | None) -> Outputs[Tensor]:
        """As float32, with the logits from the features where the last layer is linear."""
        features = features.float()
        if self._linear:
            logits = self._apply_last(features)
        return Outputs(features, None if logits is None else logits.float())

    def autocast(self) -> torch.autocast:
        """A context of bfloat16 on CUDA; nothing changes elsewhere."""
        import torch

        return torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")

    def outputs(
        self,
        samples: Iterable[Any],
        *,
        batch_size: int = 64,
        on_batch: Callable[[int], object] | None = None,
    ) -> Outputs[Array]:
        """Run the model on samples, which worker threads prepare meanwhile.

        Parameters
        ----------
        samples : iterable of PIL.Image.Image, or of str
            N images of any size and mode, or N texts of any length.
        batch_size : int
            Samples per forward pass.
        on_batch : callable, optional
            Called with the number of samples done; ``False`` stops, and the arrays then hold the
            samples done so far.

        Returns
        -------
        Outputs
            numpy float32 arrays (N, D) and (N, C_t), or None without a head, in the order of
            ``samples``.
        """
        import torch

        features = [torch.zeros(0, self.feature_dim)]
        logits = [torch.zeros(0, self.num_classes)]
        done = 0
        for prepared in _batches(self, samples, batch_size):
            if self.device.type == "cuda":
                prepared = prepared.pin_memory()
            batch = self.forward(self.normalise(prepared))
            features.append(batch.features)
            if batch.logits is not None:
                logits.append(batch.logits)
            done += len(prepared)
            if on_batch is not None and on_batch(done) is False:
                break
        return Outputs(
            as_array(features),
            as_array(logits) if self.num_classes else None,
        )

    @property
    def classifier(self) -> tuple[Array, Array] | None:
        """Weights (C_t, D) and bias (C_t,) of the last layer, float32.

        None unless ``logits = features @ weights.T + bias``.
        """
        if not self._linear or self._last is None:
            return None
        weights: Array = self._last.weight.detach().float().flatten(1).cpu().numpy()
        if self._last.bias is None:
            return weights, weights[:, 0] * 0
        return weights, self._last.bias.detach().float().cpu().numpy()

    def _apply_last(self, features: Tensor) -> Tensor:
        import torch

        assert self._last is not None, "only a network with a last layer has a linear one"
        with torch.autocast("cuda", enabled=False):
            weights = self._last.weight.flatten(1)
            return torch.nn.functional.linear(features, weights, self._last.bias)

    def _check_outputs(self) -> int:
        """Run two random samples: returns D, and learns whether the last layer is linear.

        Raises ``TeacherError`` where the outputs are not finite or do not fit the number of
        classes.
        """
        import torch

        try:
            features, logits = self.forward(self.normalise(self.inputs.example()))
        except Exception as error:
            raise TeacherError(
                f"the network fails on {self.inputs.example_name}: {type(error).__name__}: {error}"
            ) from error
        shape = None if logits is None else tuple(logits.shape)
        if features.ndim != 2 or (self.num_classes and shape != (2, self.num_classes)):
            raise TeacherError(
                f"features {tuple(features.shape)} and logits {shape} do not fit {self.num_classes}"
                " classes"
            )
        for values in (features, logits):
            if values is not None and not torch.isfinite(values).all():
                raise TeacherError("the network answers NaN or infinite values")
        if logits is not None:
            self._linear = self._is_linear(features, logits)
        return int(features.shape[1])

    def _is_linear(self, features: Tensor, logits: Tensor) -> bool:
        """Whether the last layer applied to ``features`` gives ``logits``.

        It does not where two heads are averaged, or one is scaled or normalised.
        """
        import torch

        if self._last is None:
            return False
        if self._last.weight.flatten(1).shape != (self.num_classes, features.shape[1]):
            return False
        relative = 0.05 if self.device.type == "cuda" else 1e-3
        tolerance = 1e-6 + relative * float(logits.abs().max())
        with torch.no_grad():
            difference = self._apply_last(features) - logits
        return bool(difference.abs().max() < tolerance)


def too_large(error: Exception) -> TeacherError:
    """The reason of a model for which memory does not suffice; any other error is raised again."""
    memory = exhausted_memory(error)
    if memory is None:
        raise error
    return TeacherError(f"{memory} is exhausted by this model; --device cpu may have more room")


class Loaded(NamedTuple):
    """A card's teacher, or the reason why there is none, and the seconds that loading took."""

    card: ModelCard
    teacher: Teacher | TeacherError
    seconds: float


def load_ahead(
    cards: Iterable[ModelCard], *, device: str = "cpu", offline: bool = False
) -> Iterator[Loaded]:
    """Load each card's teacher; the next one loads while the caller works on this one."""

    def attempt(card: ModelCard) -> Loaded:
        begin = time.perf_counter()
        teacher: Teacher | TeacherError
        try:
            teacher = Teacher.load(card, device=device, offline=offline)
        except TeacherError as error:
            teacher = error
        except (RuntimeError, MemoryError) as error:
            teacher = too_large(error)
        return Loaded(card, teacher, time.perf_counter() - begin)

    return in_order(attempt, cards, ahead=1, workers=1)


def _batches(teacher: Teacher, samples: Iterable[Any], batch_size: int) -> Iterator[Tensor]:
    """Batches in order; two are in work ahead of the caller."""
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    done = in_order(teacher.prepare, samples, ahead=3 * batch_size, workers=workers)
    while batch := list(islice(done, batch_size)):
        yield teacher.collate(batch)


def _heads(network: Network) -> list[Any]:
    """The linear layers or 1 x 1 convolutions with one output per class; two where a network was
    distilled, and then averages their answers.
    """
    import torch

    if not network.num_classes or network.answers is not None:
        return []
    if network.library == "timm":
        module: Any = network.module
        last = module.get_classifier()
        return [last] if isinstance(last, (torch.nn.Linear, torch.nn.Conv2d)) else []
    heads = [
        layer
        for layer in network.module.modules()
        if isinstance(layer, torch.nn.Linear) and layer.out_features == network.num_classes
    ]
    if not heads:
        raise TeacherError("the network has no linear head with one output a class")
    return heads[-2:] if type(network.module).__name__.endswith("WithTeacher") else heads[-1:]
