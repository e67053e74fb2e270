"""The student of images: a timm network and its preprocessing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.data.batch import StudentState
from distill.student.student import ExportedStudent, Student, exported_config
from selection.kinds.kind import Decoding
from selection.sources.grey import GreyScale
from zoo.errors import TeacherError, UserError
from zoo.files import write_bytes, write_json
from zoo.terminal.command import validate_choice

if TYPE_CHECKING:
    from selection.task import Task

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Which network: timm's ``architecture`` with ``model_args``, and its input ``size`` in pixels.

    ``weights`` is a folder in Hub layout from whose network, weights included, training starts.

    Small inputs: most networks of timm divide the size by 32, which leaves one position of a
    32-pixel image. timm has no common option for a finer stem, and the exported student must open
    in plain timm, so small images are enlarged instead (``input_size``); where a family has an
    option (``output_stride`` of ResNets, ``patch_size`` of ConvNeXt and ViT), ``model_args`` takes
    it and the export records it.
    """

    architecture: str
    size: int
    pretrained: bool = False
    model_args: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None

    @classmethod
    def of(
        cls,
        student: str,
        *,
        size: int,
        pretrained: bool,
        model_args: Mapping[str, Any],
    ) -> ImageSpec:
        """Of ``student``: a name of timm, or a folder with config.json and model.safetensors."""
        if not (folder := Path(student)).is_dir():
            return cls(
                architecture=student, size=size, pretrained=pretrained, model_args=model_args
            )
        if not (folder / "config.json").exists():
            raise UserError(
                f"--student {student} is a folder, but not one of a timm model (it has no"
                " config.json); expected config.json and model.safetensors, or a name of timm"
            )
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            architecture, kept = str(config["architecture"]), dict(config.get("model_args") or {})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"--student {student} is a folder, but not one of a timm model"
                f" ({type(error).__name__}: {error}); expected config.json and model.safetensors,"
                " or a name of timm"
            ) from error
        return cls(
            architecture=architecture,
            size=size,
            pretrained=pretrained,
            model_args={**kept, **model_args},
            weights=student if pretrained else None,
        )

    def create(self, classes: tuple[str, ...], *, seed: int) -> ImageStudent:
        """See `distill.student.student.StudentSpec`."""
        return ImageStudent.create(self, classes, seed=seed)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of ``timm.create_model``.

        A network with a position for every patch must know its input size.
        """
        sized = {"img_size": self.size} if _sized(self.architecture) else {}
        return sized | dict(self.model_args)


def input_size(image_side: int) -> int:
    """The student's default input size for images of median shorter side ``image_side``.

    64 pixels: smaller images are enlarged to it (see ``ImageSpec``), larger ones reduced.
    """
    return 32 if image_side <= 16 else 64


class ImageStudent(Student):
    """A timm network that takes views (B, 3, s, s) in [0, 1] and returns its states."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        spec: ImageSpec,
        classes: tuple[str, ...],
    ) -> None:
        from zoo.split_teacher import boundary

        super().__init__()
        self.network = network
        self.spec, self.classes = spec, classes
        cfg = (getattr(network, "pretrained_cfg", None) or {}) if spec.pretrained else {}
        for name, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(
                name,
                torch.tensor(cfg.get(name) or usual).view(
                    1,
                    3,
                    1,
                    1,
                ),
                persistent=False,
            )
        self._states: dict[str, Tensor] = {}  # of the present forward pass
        boundary(self.network).register_forward_hook(self._keep_low)
        classifier = self.network.get_classifier()
        if isinstance(classifier, tuple):
            classifier = classifier[0]
        classifier.register_forward_pre_hook(self._keep_features)
        noise = torch.rand(
            2,
            3,
            spec.size,
            spec.size,
            generator=torch.Generator().manual_seed(0),
        )
        self.keep_shapes(noise)

    @classmethod
    def create(
        cls,
        spec: ImageSpec,
        classes: tuple[str, ...],
        *,
        seed: int,
    ) -> ImageStudent:
        """A student with weights drawn from ``seed``, or the pretrained weights of ``spec``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _network(spec, len(classes))
            try:
                return cls(network, spec, classes)
            except (RuntimeError, AssertionError) as error:
                raise UserError(
                    f"student {spec.architecture} fails on {spec.size} pixel images ({error}); give"
                    " a larger --size or another --student"
                ) from error

    def forward(self, view: Tensor) -> StudentState:
        """``view`` (B, 3, s, s) in [0, 1] -> the states, with gradient."""
        hidden = self.network.forward_features((view - self.mean) / self.std)
        logits = self.network.forward_head(hidden)  # (B, C)
        features = self._states.pop("features").flatten(1)  # (B, D_s)
        width = int(getattr(self.network, "num_features", hidden.shape[1]))
        low = _as_map(self._states.pop("low"), None)
        return StudentState(
            logits=logits,
            features=features,
            hidden=_as_map(hidden, width),
            low=low,
        )

    def plain_view(self, inputs: Tensor) -> Tensor:
        """(B, 3, s, s) uint8 -> float in [0, 1]."""
        return inputs.float() / 255

    def export(self, folder: Path, *, task: Task | None = None) -> None:
        """See `Student.export`, and the function ``export``."""
        export(self, folder, grey=None if task is None else task.train.decoding)

    def _keep_low(
        self,
        module: nn.Module,
        given: Any,
        output: Any,
    ) -> None:
        self._states["low"] = output[0] if isinstance(output, (tuple, list)) else output

    def _keep_features(self, module: nn.Module, given: Any) -> None:
        self._states["features"] = given[0]


@cache
def _sized(architecture: str) -> bool:
    """Whether the network is made for one input size, as plain transformers and mixers are."""
    import timm

    try:
        with torch.device("meta"):
            timm.create_model(architecture, img_size=224)
    except TypeError as error:
        return "img_size" not in str(error)
    except (RuntimeError, AssertionError, ValueError):
        return True  # it has the argument, but wants another size
    return True


def check_student(
    student: str,
    *,
    size: int | None,
    pretrained: bool,
    model_args: Mapping[str, Any],
) -> None:
    """Raise ``UserError`` where no such student can be made, before anything else is done.

    ``student`` is a name of timm or a folder. Nothing is downloaded.
    """
    import timm

    spec = ImageSpec.of(
        student, size=size or input_size(64), pretrained=pretrained, model_args=model_args
    )
    if pretrained and spec.weights is None and timm.is_model(spec.architecture):
        weights = timm.get_pretrained_cfg(spec.architecture, allow_unregistered=True)
        if weights is None or not weights.has_weights:
            raise UserError(
                f"timm has no pretrained weights of {student}: leave out --pretrained, or give"
                " another --student"
            )
    untrained = spec if spec.weights else replace(spec, pretrained=False)
    ImageStudent.create(untrained, ("first", "second"), seed=0)


def _network(spec: ImageSpec, classes: int) -> Any:
    """The network with its first weights; ``UserError`` where timm does not make it."""
    import timm

    if not timm.is_model(spec.architecture):
        validate_choice("student", spec.architecture, timm.list_models())
    if spec.weights:
        return _reopened(Path(spec.weights), classes)
    try:
        return timm.create_model(
            spec.architecture, pretrained=spec.pretrained, num_classes=classes, **spec.arguments
        )
    except (TypeError, AssertionError, ValueError) as error:
        raise UserError(
            f"student {spec.architecture} does not accept {spec.arguments or 'its defaults'}:"
            f" {error}"
        ) from error
    except (OSError, RuntimeError) as error:
        if not spec.pretrained:
            raise
        raise UserError(
            f"no pretrained weights of {spec.architecture} at hand ({error}); connect to the Hub,"
            " or leave out --pretrained"
        ) from error


def _reopened(folder: Path, classes: int) -> Any:
    """The network of ``folder`` with a new head, as safely as a teacher is opened."""
    from zoo.loading.inputs.preprocessing import from_config, read_json
    from zoo.loading.network import load

    try:
        preprocessing = from_config(read_json(folder / "config.json"), folder)
        network: Any = load(folder, preprocessing).module.train().requires_grad_(True)
    except TeacherError as error:
        raise UserError(f"--student {folder} cannot be opened: {error}") from error
    network.reset_classifier(classes)
    network.pretrained_cfg = {
        **(network.pretrained_cfg or {}),
        "mean": preprocessing.mean,
        "std": preprocessing.std,
    }
    return network


def _as_map(hidden: Tensor, width: int | None) -> Tensor:
    """(B, c, h, w) from a map, a channels-last map of ``width`` channels, or tokens (B, n, c).

    Tokens become (B, c, n, 1), vectors (B, c, 1, 1).
    """
    if hidden.ndim == 3:
        return hidden.transpose(1, 2).unsqueeze(-1)
    if hidden.ndim != 4:
        return hidden.flatten(1)[:, :, None, None]
    channels_last = hidden.shape[-1] == width != hidden.shape[1]
    return hidden.permute(0, 3, 1, 2) if channels_last else hidden


def export(student: ImageStudent, folder: Path, *, grey: Decoding | None = None) -> None:
    """Write ``config.json`` (timm's Hub layout, with label names) and ``model.safetensors``.

    ``timm.create_model("local-dir:FOLDER", pretrained=True)`` then opens it without this package.
    ``grey`` is the scale of the task's deep images, which ``distill.predict`` needs.
    """
    from safetensors.torch import save

    network, spec = student.network, student.spec
    cfg = getattr(network, "pretrained_cfg", None) or {}
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    write_bytes(folder / "model.safetensors", save(state, metadata={"format": "pt"}))
    write_json(
        folder / "config.json",
        {
            "architecture": spec.architecture.split(".")[0],
            "num_classes": len(student.classes),
            "num_features": int(network.num_features),
            **({"model_args": spec.arguments} if spec.arguments else {}),
            "label_names": list(student.classes),
            **({"grey_scale": grey.as_config()} if isinstance(grey, GreyScale) else {}),
            "pretrained_cfg": {
                "input_size": [3, spec.size, spec.size],
                "fixed_input_size": bool(cfg.get("fixed_input_size", False)),
                "interpolation": "bilinear",
                "crop_pct": 1.0,
                "crop_mode": "center",
                "mean": [float(v) for v in student.mean.flatten()],
                "std": [float(v) for v in student.std.flatten()],
                "num_classes": len(student.classes),
                "pool_size": None,
                "first_conv": cfg.get("first_conv"),
                "classifier": cfg.get("classifier"),
                "license": None,
            },
        },
    )


def reopen(folder: Path) -> ExportedStudent:
    """An exported student as timm opens it; ``UserError`` where ``folder`` holds none."""
    import timm
    from safetensors import SafetensorError

    config = exported_config(folder)
    try:
        if len(config["label_names"]) != config["num_classes"]:
            raise KeyError("label_names")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} is not an exported student ({type(error).__name__}: {error}); give the"
            " student/ folder of a run"
        ) from error
    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except (OSError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"the student in {folder} cannot be opened: {error}") from error
    return ExportedStudent(
        name=str(config["architecture"]),
        network=network,
        classes=tuple(str(name) for name in config["label_names"]),
        config=config,
        example=torch.zeros(1, *config["pretrained_cfg"]["input_size"]),
    )
