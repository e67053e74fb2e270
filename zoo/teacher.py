"""A card's weights, loaded and frozen: raw images in, features and logits out, with the model's own
preprocessing.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.card import ModelCard
from zoo.errors import TeacherError
from zoo.loading.network import Network
from zoo.loading.network import load as load_network
from zoo.loading.preprocessing import Preprocessing, preprocessing_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Loaded", "Outputs", "Preprocessing", "Teacher", "load_ahead", "preprocessing_of"]

_MOST_WORKERS = 16


class Outputs(NamedTuple):
    """features (B, D) float32, pooled, before the head; logits (B, C_t) float32, or None without a
    head.
    """

    features: Any
    logits: Any


class Teacher:
    """One loaded model, frozen and in eval mode.

    card           where it came from
    module         the torch network itself
    device         a ``torch.device``; on CUDA the network runs in bfloat16 by autocast, outputs are float32 everywhere
    preprocessing  how it wants its images
    feature_dim    D; ``num_classes`` C_t, 0 without a head; ``labels`` C_t names in the order of the logits, or None
    """  # noqa: E501

    def __init__(
        self, card: ModelCard, network: Network, preprocessing: Preprocessing, *, device: str
    ) -> None:
        import torch

        self.card = card
        self.device = torch.device(device)
        self.preprocessing = preprocessing
        self.num_classes = network.num_classes
        self.labels = card.labels if card.labels and len(card.labels) == self.num_classes else None
        self.module = network.module.to(self.device, memory_format=torch.channels_last)
        self._library = network.library
        self._last = _last_layer(network)
        # whether the last layer applied to the features gives the logits: tried out below
        self._linear = False
        scale = [1 / s for s in preprocessing.std]
        shift = [-m / s for m, s in zip(preprocessing.mean, preprocessing.std, strict=True)]
        self._scale = torch.tensor(scale, device=self.device).view(1, 3, 1, 1)
        self._shift = torch.tensor(shift, device=self.device).view(1, 3, 1, 1)
        self.feature_dim = self._try_out()

    @classmethod
    def load(
        cls,
        card: ModelCard,
        *,
        device: str = "cpu",
        offline: bool = False,
        largest: int | None = None,
    ) -> Teacher:
        """Load ``card``'s model; weights that are not on this machine are fetched unless
        ``offline``.

        A model whose input is larger than ``largest`` pixels looks at images of that size (most
        networks can; one that cannot is built for it where timm knows how). That is several times
        faster, and for small images as good.

        Raises ``TeacherError``, with the reason, on any fault of the model.
        """
        from zoo.loading.download import fetch

        folder = fetch(card, offline=offline)
        preprocessing = preprocessing_of(card, folder).at_most(largest)
        return cls(card, load_network(folder, preprocessing), preprocessing, device=device)

    def prepare(self, image: Image.Image) -> Any:
        """``image`` (PIL) resized and cut as the model wants it: (3, H, W) uint8 on the CPU. Safe
        in threads.
        """
        import numpy as np
        import torch

        pixels = np.array(self.preprocessing.apply(image))  # (H, W, 3), a copy that torch may own
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def normalise(self, pixels: Any) -> Any:
        """(B, 3, H, W), uint8 or float in [0, 1] -> float32 on the device, ready for
        ``forward``.
        """
        import torch

        pixels = pixels.to(self.device, non_blocking=True)
        scale = self._scale if pixels.is_floating_point() else self._scale / 255
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        return torch.addcmul(self._shift, pixels, scale)

    def view(self, pixels: Any) -> Any:
        """(B, 3, h, w) float in [0, 1] on the device -> (B, 3, H, W) normalised: all of the view,
        resized to fit.

        A training view is a crop already, so the teacher sees just what the student sees: nothing
        more is cut off. Smooth filters are antialiased; a model that wants nearest neighbours gets
        them.
        """
        import torch.nn.functional as F

        size, name = self.preprocessing.input_size, self.preprocessing.interpolation
        if tuple(pixels.shape[-2:]) != size:
            if name == "nearest":
                pixels = F.interpolate(
                    pixels, size, mode="nearest-exact"
                )  # PIL's rule: the pixel under the centre
            else:
                mode = "bicubic" if name in ("bicubic", "lanczos") else "bilinear"
                pixels = F.interpolate(
                    pixels, size, mode=mode, antialias=True, align_corners=False
                ).clamp(0, 1)
        return self.normalise(pixels)

    def forward(self, inputs: Any) -> Outputs:
        """(B, 3, H, W) normalised, on the device -> ``Outputs`` of float32 tensors, without
        gradients.
        """
        import torch

        with torch.no_grad(), self.autocast():
            if self._library == "timm":
                return self.finish(self.module.forward_features(inputs))
            seen: list[Any] = []  # what enters the last linear layer with one output a class
            hook = self._last.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
            try:
                logits = self.module(pixel_values=inputs).logits
            finally:
                hook.remove()
            return self._answer(_pooled(seen[-1]), logits)

    def finish(self, hidden: Any) -> Outputs:
        """The ``Outputs`` of a trunk's end, as float32, with gradient to ``hidden`` where that has
        one.

        Of timm ``hidden`` is what ``forward_features`` gives, of transformers what is pooled for
        the head.
        """
        if self._library != "timm":
            return self._answer(_pooled(hidden), None)
        features = _pooled(self.module.forward_head(hidden, pre_logits=True))
        return self._answer(
            features,
            None if self._linear or not self.num_classes else self.module.forward_head(hidden),
        )

    def _answer(self, features: Any, logits: Any) -> Outputs:
        """As float32, and the logits from the features where the last layer is linear."""
        features = features.float()
        if self._linear:
            logits = self._apply_last(features)
        return Outputs(features, None if logits is None else logits.float())

    def autocast(self) -> Any:
        """bfloat16 on CUDA, nothing elsewhere."""
        import torch

        return torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")

    def outputs(
        self,
        images: Iterable[Image.Image],
        *,
        batch_size: int = 64,
        on_batch: Callable[[int], object] | None = None,
        prepared: dict[str, list[Any]] | None = None,
    ) -> Outputs:
        """``Outputs`` of numpy float32 arrays, (N, D) and (N, C_t) or None, in the order of
        ``images``.

        Images are resized (and decoded, where PIL has only opened them) in worker threads while the
        network runs; ``on_batch`` is told the number of images done and may answer ``False``: then
        the rest is not run, and the arrays hold the images done so far. ``prepared`` keeps the
        resized images by ``Preprocessing.geometry`` and batch size, N x 3 x H x W bytes each: give
        the same dict with the same images to every teacher, and those that resize alike do it once.
        """
        import torch

        key = f"{self.preprocessing.geometry}-{batch_size}"
        kept = None if prepared is None else prepared.get(key)
        features, logits, batches, done = [], [], [], 0
        for pixels in _batches(self.prepare, images, batch_size) if kept is None else kept:
            if prepared is not None:
                batches.append(pixels)
            answer = self.forward(
                self.normalise(pixels.pin_memory() if self.device.type == "cuda" else pixels)
            )
            features.append(answer.features)
            logits.append(answer.logits)
            done += len(pixels)
            if on_batch is not None and on_batch(done) is False:
                break
        else:
            if prepared is not None:
                prepared[key] = batches
        if not features:
            features, logits = (
                [torch.zeros(0, self.feature_dim)],
                [torch.zeros(0, self.num_classes)],
            )
        return Outputs(
            torch.cat(features).cpu().numpy(),
            torch.cat(logits).cpu().numpy() if self.num_classes else None,
        )

    @property
    def classifier(self) -> tuple[Any, Any] | None:
        """(weights (C_t, D), bias (C_t,)) float32 numpy of the last layer, where logits = features
        @ weights.T + bias.
        """
        if not self._linear:
            return None
        weights = self._last.weight.detach().float().flatten(1).cpu().numpy()
        bias = self._last.bias
        return weights, (weights[:, 0] * 0 if bias is None else bias.detach().float().cpu().numpy())

    def _apply_last(self, features: Any) -> Any:
        import torch

        with torch.autocast("cuda", enabled=False):
            return torch.nn.functional.linear(
                features, self._last.weight.flatten(1), self._last.bias
            )

    def _try_out(self) -> int:
        """One forward pass of two images: finds D, checks the outputs, and finds out whether the
        last layer is linear.
        """
        import torch

        pixels = torch.rand(
            2, 3, *self.preprocessing.input_size, generator=torch.Generator().manual_seed(0)
        )
        try:
            features, logits = self.forward(self.normalise(pixels))
        except Exception as error:
            raise TeacherError(
                f"the network fails on an image of its own size: {type(error).__name__}: {error}"
            ) from error
        shape = None if logits is None else tuple(logits.shape)
        if features.ndim != 2 or (self.num_classes and shape != (2, self.num_classes)):
            raise TeacherError(
                f"features {tuple(features.shape)} and logits {shape} do not fit {self.num_classes}"
                " classes"
            )
        if not torch.isfinite(features).all() or (
            logits is not None and not torch.isfinite(logits).all()
        ):
            raise TeacherError("the network answers NaN or infinite values")
        if logits is not None and self._last is not None:
            fits = self._last.weight.flatten(1).shape == (self.num_classes, features.shape[1])
            tolerance = 1e-6 + (0.05 if self.device.type == "cuda" else 1e-3) * float(
                logits.abs().max()
            )
            with (
                torch.no_grad()
            ):  # not so where two heads are averaged, or one is scaled or normalised
                self._linear = fits and bool(
                    (self._apply_last(features) - logits).abs().max() < tolerance
                )
        return int(features.shape[1])


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
        return Loaded(card, teacher, time.perf_counter() - begin)

    yield from _ahead(attempt, cards, ahead=1, workers=1, name="load")


def _ahead(
    function: Callable[[Any], Any], items: Iterable[Any], *, ahead: int, workers: int, name: str
) -> Iterator[Any]:
    """``function`` of each item, in their order, by threads called ``name``; ``ahead`` of them are
    in work before the caller.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix=name) as pool:
        pending = deque(pool.submit(function, item) for item in islice(waiting, ahead))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(waiting, 1))
            yield result


def _batches(
    prepare: Callable[[Any], Any], images: Iterable[Any], batch_size: int
) -> Iterator[Any]:
    """Stacked (B, 3, H, W) uint8 batches in order; two batches are in work ahead of the caller."""
    import torch

    done = _ahead(
        prepare,
        images,
        ahead=3 * batch_size,
        workers=min(_MOST_WORKERS, os.cpu_count() or 1),
        name="prepare",
    )
    while batch := list(islice(done, batch_size)):
        # channels last in memory, as PIL gives them and convolutions want
        yield torch.stack([pixels.permute(1, 2, 0) for pixels in batch]).permute(0, 3, 1, 2)


def _last_layer(network: Network) -> Any:
    """The linear layer or 1 x 1 convolution with one output a class, or None."""
    import torch

    if not network.num_classes:
        return None
    if network.library == "timm":
        last = network.module.get_classifier()
        return last if isinstance(last, (torch.nn.Linear, torch.nn.Conv2d)) else None
    found = [
        layer
        for layer in network.module.modules()
        if isinstance(layer, torch.nn.Linear) and layer.out_features == network.num_classes
    ]
    if not found:
        raise TeacherError("the network has no linear head with one output a class")
    return found[-1]


def _pooled(features: Any) -> Any:
    """(B, D) from (B, D), tokens (B, n, D) or a map (B, D, h, w): the mean, where the network
    itself does not pool.
    """
    if features.ndim == 3:
        return features.mean(1)
    return features.flatten(2).mean(2) if features.ndim == 4 else features
