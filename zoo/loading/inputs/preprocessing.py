"""How a model wants its images: read from its config, done on the CPU by its own library."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.card import ModelCard
from zoo.errors import TeacherError
from zoo.files import load_json
from zoo.loading.backbones import first_architecture, tower_config
from zoo.loading.checkpoint.architecture import default_cfg, timm_name
from zoo.loading.inputs import tokenization
from zoo.loading.inputs.processors import RESAMPLING, family_processor, pair, settings_of, triple
from zoo.loading.inputs.tokenization import Tokenization

if TYPE_CHECKING:
    from PIL import Image

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CROP_MODES = ("center", "squash", "border")
# where a timm config leaves one of these open, timm's own settings of the architecture serve
_TIMM_FIELDS = ("input_size", "mean", "std", "interpolation", "crop_pct")
_ALL_FIELDS = (*_TIMM_FIELDS, "crop_mode")
_LARGEST_SIDE = 2_048


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The evaluation transform of one model, in timm's terms.

    ``input_size`` is (height, width) in pixels. The image is resized to ``floor(input_size /
    crop_pct)`` and its centre is cut out: ``center`` keeps the aspect ratio and fits the shorter
    side, ``squash`` stretches both sides, ``border`` fits the longer side and fills up with the
    mean colour. ``mean`` and ``std`` are per channel, in the network's order (``channel_order``:
    ``rgb`` or ``bgr``), for pixels in [0, 1].
    """

    input_size: tuple[int, int]
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"
    channel_order: str = "rgb"

    def __post_init__(self) -> None:
        if not all(
            isinstance(side, int) and 1 <= side <= _LARGEST_SIDE for side in self.input_size
        ):
            raise TeacherError(
                f"input size {self.input_size} is not between 1 and {_LARGEST_SIDE} pixels a side"
            )
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise TeacherError(
                f"mean {self.mean} and std {self.std} must be finite, and std above 0"
            )
        if self.interpolation not in RESAMPLING:
            raise TeacherError(
                f"unknown interpolation {self.interpolation!r} (valid: {', '.join(RESAMPLING)})"
            )
        if not 0.1 <= self.crop_pct <= 2:
            raise TeacherError(f"crop_pct {self.crop_pct} is not between 0.1 and 2")
        if self.crop_mode not in _CROP_MODES:
            raise TeacherError(
                f"unknown crop_mode {self.crop_mode!r} (valid: {', '.join(_CROP_MODES)})"
            )
        if self.channel_order not in ("rgb", "bgr"):
            raise TeacherError(f"channel_order {self.channel_order!r} is neither rgb nor bgr")

    def at_most(self, side: int | None) -> Preprocessing:
        """The same at ``side`` x ``side`` pixels where its input is larger; None: as it is."""
        if side is None or max(self.input_size) <= side:
            return self
        return replace(self, input_size=(side, side))

    @property
    def key(self) -> str:
        """One line of text, equal exactly where the preprocessing is equal, for keys of a cache."""
        height, width = self.input_size
        geometry = f"{height}x{width}-{self.interpolation}-{self.crop_mode}-{self.crop_pct:.9g}"
        geometry += "-bgr" if self.channel_order == "bgr" else ""
        return f"{geometry}-" + ",".join(f"{v:.9g}" for v in (*self.mean, *self.std))

    def apply(self, image: Image.Image) -> Image.Image:
        """``image`` as RGB of exactly ``input_size``, by timm's own evaluation transform; safe in
        threads.
        """
        for step in _steps(self):
            image = step(image)
        return image


@lru_cache(maxsize=64)
def _steps(preprocessing: Preprocessing) -> tuple[Callable[[Image.Image], Image.Image], ...]:
    """The steps of timm's evaluation transform before the image becomes a tensor."""
    from timm.data import create_transform

    transform = create_transform(
        (3, *preprocessing.input_size),
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        crop_pct=preprocessing.crop_pct,
        crop_mode=preprocessing.crop_mode,
        normalize=False,
    )
    return lambda image: image.convert("RGB"), *transform.transforms[:-1]


def preprocessing_of(
    card: ModelCard,
    folder: Path | None = None,
) -> Preprocessing | Tokenization:
    """How the model of ``card`` wants its images, or its texts; needs no torch and no weights, so
    it serves as a cache key.

    Read from ``folder``'s config (for models of a FOLDER: the card's own location) where there is
    one, since a card knows only the shorter side; otherwise from the card's fields, with timm's
    defaults for what is unknown.
    """
    if folder is None and card.source in ("folder", "small") and card.location:
        folder = Path(card.location)
    if folder is not None and (folder / "config.json").is_file():
        config = read_json(folder / "config.json")
        if tokenization.is_text_config(config):
            file = folder / tokenization.SETTINGS
            settings = read_json(file) if file.is_file() else {}
            return tokenization.tokenization_of(config, folder, settings)
        return from_config(config, folder)
    if card.modality == "text":
        return tokenization.of_card(card)
    return _build((card.input_size, card.input_size), vars(card))


def from_config(config: dict[str, Any], folder: Path) -> Preprocessing:
    """The preprocessing that a timm config, or a transformers config with its preprocessor file,
    asks for.

    What a timm config leaves open is timm's own setting of that architecture (and tag), and
    ``img_size`` among its ``model_args`` is the size of the input.
    """
    if isinstance(config.get("architecture"), str):
        return _from_timm(config)
    if (folder / "preprocessor_config.json").is_file():
        return from_transformers(read_json(folder / "preprocessor_config.json"))
    return from_transformers(family_processor(tower_config(config, first_architecture(config))))


def timm_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a timm config gives: its ``pretrained_cfg``, and what an old flat config has at its
    top.
    """
    nested = config.get("pretrained_cfg")
    settings = dict(config)
    if isinstance(nested, Mapping):
        settings |= {name: value for name, value in nested.items() if value is not None}
    return settings


def _from_timm(config: Mapping[str, Any]) -> Preprocessing:
    settings = timm_settings(config)
    settings = {name: settings[name] for name in _ALL_FIELDS if settings.get(name) is not None}
    if not settings.keys() >= set(_TIMM_FIELDS):
        settings = {**_timm_default(config), **settings}
    arguments = config.get("model_args")
    arguments = arguments if isinstance(arguments, Mapping) else {}
    channels = arguments.get("in_chans", config.get("in_chans"))
    if channels not in (None, 3):
        raise TeacherError(f"the network takes {channels} channels, only colour images are fed")
    size = arguments.get("img_size")
    if size is not None:
        return _build(pair(size), settings)
    return _build(_sides(settings.get("input_size") or (3, 224, 224)), settings)


def _timm_default(config: Mapping[str, Any]) -> dict[str, Any]:
    name = timm_name(str(config["architecture"]), timm_settings(config).get("tag"))
    own = default_cfg(name)
    return {field: own[field] for field in _ALL_FIELDS if own.get(field) is not None}


def _sides(size: Any) -> tuple[Any, Any]:
    """(height, width) of an ``input_size``."""
    if not isinstance(size, Sequence) or isinstance(size, str) or len(size) != 3 or size[0] != 3:
        raise TeacherError(
            f"input_size {size!r} is not [3, height, width]: only colour images are fed"
        )
    return size[1], size[2]


def from_transformers(processor: dict[str, Any]) -> Preprocessing:
    """A ``preprocessor_config.json`` in timm's terms; see ``processors.settings_of``."""
    return _build(*settings_of(processor))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; ``TeacherError`` where it is none."""
    value = load_json(path)
    if not isinstance(value, dict):
        raise TeacherError(f"{path.name} holds a {type(value).__name__}, expected an object")
    return value


def _build(size: Any, values: Mapping[str, Any]) -> Preprocessing:
    """From ``values`` by the names of ``Preprocessing``, with timm's defaults for the others."""
    height, width = (side if side is not None else 224 for side in pair(size))
    try:
        return Preprocessing(
            input_size=(height, width),
            mean=triple(values.get("mean") or _IMAGENET_MEAN),
            std=triple(values.get("std") or _IMAGENET_STD),
            interpolation=str(values.get("interpolation") or "bicubic"),
            crop_pct=float(values.get("crop_pct") or 0.875),
            crop_mode=str(values.get("crop_mode") or "center"),
            channel_order=str(values.get("channel_order") or "rgb"),
        )
    except (TypeError, ValueError) as error:
        raise TeacherError(f"the preprocessing cannot be read: {error}") from error
