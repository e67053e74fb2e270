"""A teacher cut in two: images to a hidden state, and a hidden state to outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from zoo.loading.inputs.preprocessing import Preprocessing
from zoo.loading.inputs.text_preparation import TextPreparation
from zoo.loading.transformers import text_cut
from zoo.loading.transformers.halves import CannotSplit, Halves, Interrupted, cut_after
from zoo.loading.trunks import Trunk, boundary, chain, trunk
from zoo.teacher import Outputs, Teacher

__all__ = ["GRID", "SHARE", "CannotSplit", "SplitTeacher", "Trunk", "boundary", "trunk"]

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.75  # of a teacher's blocks that lie below the cut
GRID = 4  # a stored state is averaged onto GRID x GRID positions


class Splitter(Protocol):
    """What methods that ask a teacher from the middle need of it, see ``SplitTeacher``."""

    @property
    def channels(self) -> int: ...

    @property
    def prefix(self) -> int: ...

    @property
    def feature_dim(self) -> int: ...

    def join(self, state: Tensor, prefix: Tensor | None = None) -> Tensor: ...

    def upper(self, hidden: Tensor, inputs: Tensor | None = None) -> Outputs[Tensor]: ...

    def shuffled(self, seed: int) -> Splitter: ...


class SplitTeacher:
    """A frozen teacher cut in two: images or texts to hidden states, and these to outputs.

    A state of texts is a map (B, c, n, 1), one position a token; ``upper`` takes any n. Its
    features are then the mean over the upper layers alone.

    Attributes
    ----------
    card : ModelCard
        The teacher's card.
    state : tuple of int
        Shape of the hidden state of one image: (c, h, w), or (n, c) for tokens; of texts (c, 16,
        1), as they are stored.
    channels : int
        c.
    grid : tuple of int
        (h, w) of the map or of the patches; (16, 1) of texts.
    prefix : int
        The number of tokens before the patches.
    feature_dim, num_classes : int
        D_t and C_t of ``upper``'s outputs.
    """

    def __init__(self, teacher: Teacher, *, share: float = SHARE) -> None:
        self.teacher, self.card = teacher, teacher.card
        self.feature_dim, self.num_classes = teacher.feature_dim, teacher.num_classes
        self._share = share
        self._lower: Callable[[Any], Any]
        self._finish: Callable[[Any], Outputs[Tensor]]
        self._cut_open()
        self._check()

    def _cut_open(self) -> None:
        self._text: text_cut.TextCut | None = None
        if isinstance(self.teacher.inputs, TextPreparation):
            self._cut_text(self.teacher.inputs)
            return
        if self.teacher.library == "transformers":
            self._halves = Halves.of(self.teacher.module, self._share)
            self._lower_teacher = self.teacher.with_module(self._halves.lower)
            self._upper_teacher = self.teacher.with_module(self._halves.upper)
            self._lower, self._finish = self._until_cut, self._from_cut
            return
        whole = trunk(self.teacher.module)
        cut = cut_after(len(whole.blocks), self._share)
        self._lower = chain(whole.before, *whole.blocks[:cut])
        upper = chain(*whole.blocks[cut:], whole.after)
        self._finish = lambda hidden: self.teacher.finish(upper(hidden))
        self.prefix = whole.prefix

    def _cut_text(self, inputs: TextPreparation) -> None:
        if self.teacher.sees_padding:
            raise CannotSplit(
                f"{type(self.teacher.module).__name__} lets padding change its hidden state"
            )
        example = self.teacher.normalise(inputs.example())
        self._text = text_cut.TextCut(
            self.teacher.module, example, padding=inputs.padding, share=self._share
        )
        self._lower, self.prefix = self._text.lower, 0

    @property
    def _input_size(self) -> tuple[int, int]:
        """(height, width) of the teacher's images."""
        assert isinstance(self.teacher.preprocessing, Preprocessing)
        return self.teacher.preprocessing.input_size

    def _until_cut(self, inputs: Tensor) -> Tensor:
        try:
            self._lower_teacher.forward(inputs)
        except Interrupted as reached:
            return reached.hidden
        raise CannotSplit(f"{type(self.teacher.module).__name__} passes over its layers")

    def _from_cut(self, hidden: Tensor) -> Outputs[Tensor]:
        """What the upper half makes of ``hidden``; its image says nothing but the batch's size."""
        import torch

        blank = torch.zeros(
            1,
            3,
            *self._image_size(hidden),
            device=hidden.device,
        )
        self._halves.entry[:] = [hidden]
        try:
            return self._upper_teacher.forward_with_gradient(
                blank.expand(
                    len(hidden),
                    -1,
                    -1,
                    -1,
                )
            )
        finally:
            self._halves.entry.clear()

    def _image_size(self, hidden: Tensor) -> tuple[int, int]:
        """(height, width) of the image of ``hidden``, where positions are turned into angles at
        each layer; else the teacher's own.
        """
        height, width = self._input_size
        if hidden.ndim != 3 or not hasattr(self.teacher.module, "rope_embeddings"):
            return height, width
        patch = _patch_size(self.teacher.module)
        side = math.isqrt(hidden.shape[1] - self.prefix) * patch
        return side, side

    def _prefix_of(self, hidden: Tensor) -> int:
        """The number of tokens before the patches, by the size of the patches."""
        height, width = self._input_size
        patch = _patch_size(self.teacher.module)
        if hidden.ndim != 3 or not patch:
            return 0
        return max(0, hidden.shape[1] - (height // patch) * (width // patch))

    def lower(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) normalised as ``Teacher.view`` does -> the hidden state (B, c, h, w) or (B,
        n, c); of texts (B, 2, L) -> (B, c, L, 1). No gradient.
        """
        import torch

        with torch.no_grad(), self.teacher.autocast():
            hidden: Tensor = self._lower(inputs)
            return hidden.float()

    def upper(self, hidden: Tensor, inputs: Tensor | None = None) -> Outputs[Tensor]:
        """``Outputs`` of the frozen upper layers, float32, with gradient to ``hidden``; maps may
        have any height and width. The ``inputs`` that a state is of tell which tokens of texts are
        padding; without them none is.
        """
        with self.teacher.autocast():
            if self._text is None:
                return self._finish(hidden)
            features, logits = self._text.upper(hidden, None if inputs is None else inputs[:, 1])
            return Outputs(features.float(), None if logits is None else logits.float())

    def stored_state(self, inputs: Tensor) -> Tensor:
        """The state of a batch as it is stored: ``pooled(lower(inputs))``, of texts over the tokens
        that are no padding.
        """
        hidden = self.lower(inputs)
        return self.pooled(hidden) if self._text is None else text_cut.pooled(hidden, inputs[:, 1])

    def as_map(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        """The state as ``(map (B, c, h, w), prefix tokens (B, p, c) or None)``."""
        if hidden.ndim == 4:
            return hidden, None
        tokens = hidden[:, self.prefix :].mT  # (B, c, n)
        return tokens.unflatten(2, self.grid), hidden[:, : self.prefix] if self.prefix else None

    def join(self, state: Tensor, prefix: Tensor | None = None) -> Tensor:
        """The inverse of ``as_map``: what ``upper`` takes."""
        if len(self.state) == 3:
            return state
        import torch

        patches = state.flatten(2).mT  # (B, n, c)
        return patches if prefix is None else torch.cat([prefix, patches], dim=1)

    def pooled(self, hidden: Tensor, size: int = GRID) -> Tensor:
        """The state averaged onto ``size`` x ``size`` positions, (B, c, size, size): small enough
        to be stored. A state of texts, without padding, is averaged onto (16, 1).
        """
        import torch.nn.functional as F

        if self._text is not None:
            return text_cut.pooled(hidden)

        return F.adaptive_avg_pool2d(self.as_map(hidden)[0], size)

    def shuffled(self, seed: int) -> SplitTeacher:
        """The same network with the entries of every weight matrix shuffled: an untrained control.

        Shuffling keeps each layer's scale, so that signals neither vanish nor explode; norms and
        biases stay.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        other = copy.copy(self)
        other.teacher = self.teacher.with_module(copy.deepcopy(self.teacher.module))
        matrices = [part for part in other.teacher.module.parameters() if part.ndim > 1]
        with torch.no_grad():
            for weights in matrices:
                order = torch.randperm(weights.numel(), generator=generator)
                shuffled = weights.flatten()[order.to(weights.device)]
                weights.copy_(shuffled.view(weights.shape))
        other._cut_open()
        return other

    def _check(self) -> None:
        """Set the shapes from one image; ``CannotSplit`` if the halves differ from the whole."""
        import torch

        if self._text is not None:
            self._check_text(self._text)
            return

        name = type(self.teacher.module).__name__
        inputs = self.teacher.normalise(self.teacher.inputs.example(1))
        whole = self.teacher.forward(inputs).features
        try:
            hidden = self.lower(inputs)
            if self.teacher.library == "transformers":
                self.prefix = self._prefix_of(hidden)
            with torch.no_grad():
                again = self.upper(hidden).features
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise CannotSplit(
                f"{name} cannot be run from the middle: its layers need more than the state before"
                " them"
            ) from error
        self._check_equal(again, whole)
        self.state: tuple[int, ...] = tuple(hidden.shape[1:])
        if len(self.state) == 3:
            self.channels, height, width = self.state
            self.grid = (height, width)
            return
        self.channels = self.state[1]
        patches = self.state[0] - self.prefix
        side = math.isqrt(patches)
        if side**2 != patches:
            raise CannotSplit(f"{name} has {patches} patches, which are no square")
        self.grid = (side, side)
        self._check_small(hidden)

    def _check_text(self, halves: text_cut.TextCut) -> None:
        """As ``_check``, from two texts of different length, and from a state without a text."""
        import torch

        name = type(self.teacher.module).__name__
        inputs = self.teacher.normalise(self.teacher.inputs.example())
        try:
            with torch.no_grad():
                hidden = self.lower(inputs)
                again = self.upper(hidden, inputs)
                with self.teacher.autocast():
                    features, logits = halves.whole(inputs)
                self.upper(text_cut.pooled(hidden))
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise CannotSplit(
                f"{name} cannot be run from the middle: its layers need more than the state before"
                " them"
            ) from error
        self._check_equal(again.features, features)
        if logits is not None and again.logits is not None:
            self._check_equal(again.logits, logits)
        self.channels, self.grid = hidden.shape[1], text_cut.GRID
        self.state = (self.channels, *self.grid)

    def _check_equal(self, again: Tensor, whole: Tensor) -> None:
        """``CannotSplit`` unless both halves together answer as the whole."""
        relative = 0.05 if self.teacher.device.type == "cuda" else 1e-4
        tolerance = relative * (1 + float(whole.abs().max()))
        if again.shape != whole.shape or (again - whole).abs().max() > tolerance:
            raise CannotSplit(
                f"{type(self.teacher.module).__name__} does not give the same answer from the"
                " middle as from the start"
            )

    def _check_small(self, hidden: Tensor) -> None:
        """``CannotSplit`` where the upper half takes no state of ``GRID`` x ``GRID`` positions."""
        import torch

        count = self.prefix + GRID * GRID
        try:
            with torch.no_grad():
                self.upper(hidden[:, :1].expand(-1, count, -1))
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise CannotSplit(
                f"{type(self.teacher.module).__name__} takes no hidden state of another size than"
                " that of its images"
            ) from error


def _patch_size(network: Any) -> int:
    """Pixels a side; 0 where the network has no patches of one size."""
    size = getattr(network.config, "patch_size", 0)
    return size if isinstance(size, int) else 0
