"""Passing a student on: as ONNX, or to the Hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from zoo.errors import Unavailable, UserError


def check(
    *,
    onnx: bool,
    push: str | None,
    offline: bool,
    public: bool = False,
) -> None:
    """Raise ``UserError`` before hours of training where the student could not be passed on after
    them.
    """
    if onnx and find_spec("onnx") is None:
        raise UserError(
            "--onnx: onnx is not installed; install the extra: pip install 'teacher-zoo[onnx]'"
        )
    if push is None:
        if public:
            raise UserError(
                "--public says how --push publishes the student: give --push ORG/NAME too, or"
                " leave out --public"
            )
        return
    if offline:
        raise UserError(
            "--push needs the network, which --offline forbids: leave out one of them; a finished"
            " run is pushed by python -m distill.train --resume --out RUN --push ORG/NAME"
        )
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(push)
    except HFValidationError as error:
        raise UserError(f"--push {push!r}: {error}; expected ORG/NAME") from error


def write_onnx(student: Path) -> Path:
    """Write ``model.onnx`` into the folder of the exported ``student``.

    Input ``pixels`` (batch, 3, s, s) normalised, output ``logits``. Checked against the network on
    random input where onnxruntime is installed. Raises ``UserError`` where it cannot be exported,
    ``Unavailable`` where its logits differ.
    """
    import torch

    from distill.student.student import reopen

    network, config = reopen(student)
    size = config["pretrained_cfg"]["input_size"][1]
    sample = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    path, partial = student / "model.onnx", student / ".model.onnx.part"
    try:
        torch.onnx.export(
            network,
            (sample,),
            str(partial),
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}},
            dynamo=False,
        )
        if find_spec("onnxruntime") is not None:
            from onnxruntime import InferenceSession

            session = InferenceSession(str(partial), providers=["CPUExecutionProvider"])
            logits = torch.from_numpy(session.run(None, {"pixels": sample.numpy()})[0])
            with torch.no_grad():
                expected = network(sample)
            if not torch.allclose(logits, expected, atol=1e-3, rtol=1e-3):
                off = float((logits - expected).abs().max())
                raise Unavailable(
                    f"the logits of the ONNX student differ from the student's (by {off:.2g})"
                )
        partial.replace(path)
    except torch.onnx.errors.OnnxExporterError as error:
        raise UserError(
            f"--onnx: {error}; install the extra: pip install 'teacher-zoo[onnx]'"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def push_student(
    student: Path,
    card: Path,
    repo: str,
    *,
    public: bool = False,
) -> str:
    """Upload an exported student and its model card to the Hub; returns the address.

    ``repo`` is ORG/NAME. A new repository is private unless ``public``; one that exists keeps its
    visibility. The token is the one that huggingface_hub knows. Raises ``Unavailable``.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    api = HfApi()
    try:
        api.create_repo(repo, repo_type="model", private=not public, exist_ok=True)
        api.upload_file(path_or_fileobj=card.read_bytes(), path_in_repo="README.md", repo_id=repo)
        files = ["config.json", "model.safetensors", "model.onnx"]
        return str(api.upload_folder(repo_id=repo, folder_path=student, allow_patterns=files))
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise Unavailable(
            f"the student could not be pushed to {repo} ({error}); it is kept in {student}, push it"
            " again later"
        ) from error
