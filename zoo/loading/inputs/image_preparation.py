"""Images as a network takes them: prepared on the CPU, normalised on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.loading.inputs.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor


class ImagePreparation:
    """How the samples of an image model become its inputs; see the methods of ``Teacher``."""

    modality = "image"
    example_name = "an image of its own size"

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        import torch

        self.preprocessing, self.device = preprocessing, device
        scale = [1 / s for s in preprocessing.std]
        shift = [-m / s for m, s in zip(preprocessing.mean, preprocessing.std, strict=True)]
        self._scale = torch.tensor(scale, device=device).view(1, 3, 1, 1)
        self._shift = torch.tensor(shift, device=device).view(1, 3, 1, 1)

    def prepare(self, image: Image.Image) -> Tensor:
        """(3, H, W) uint8 on the CPU."""
        import numpy as np
        import torch

        pixels = np.array(self.preprocessing.apply(image))  # (H, W, 3), a copy that torch may own
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def collate(self, prepared: Sequence[Tensor]) -> Tensor:
        """(B, 3, H, W) uint8."""
        import torch

        # channels last in memory, as PIL gives them and convolutions want
        rows = [pixels.permute(1, 2, 0) for pixels in prepared]
        return torch.stack(rows).permute(0, 3, 1, 2)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W), uint8 or float in [0, 1] -> float32 on the device."""
        import torch

        pixels = pixels.to(self.device, non_blocking=True)
        if self.preprocessing.channel_order == "bgr":
            pixels = pixels.flip(1)
        scale = self._scale if pixels.is_floating_point() else self._scale / 255
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        return torch.addcmul(self._shift, pixels, scale)

    def view(self, pixels: Tensor) -> Tensor:
        """(B, 3, h, w), float in [0, 1] on the device, resized and normalised."""
        import torch.nn.functional as F

        size = self.preprocessing.input_size
        if tuple(pixels.shape[-2:]) == size:
            return self.normalise(pixels)
        name = self.preprocessing.interpolation
        if name == "nearest":  # PIL's rule: the pixel under the centre
            return self.normalise(F.interpolate(pixels, size, mode="nearest-exact"))
        mode = "bicubic" if name in ("bicubic", "lanczos") else "bilinear"
        resized = F.interpolate(
            pixels,
            size,
            mode=mode,
            antialias=True,
            align_corners=False,
        )
        return self.normalise(resized.clamp(0, 1))

    def example(self, count: int = 2) -> Tensor:
        """``count`` random images (count, 3, H, W), always the same, on the CPU."""
        import torch

        generator = torch.Generator().manual_seed(0)
        return torch.rand(count, 3, *self.preprocessing.input_size, generator=generator)
