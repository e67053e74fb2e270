"""Passing a student on to the Hub, and what must be at hand for that or for ONNX."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from zoo.errors import Unavailable, UserError

ONNX_PACKAGES = {"onnx": ("onnx", "onnxscript"), "int8": ("onnx", "onnxscript", "onnxruntime")}


def check(
    *,
    onnx: bool,
    int8: bool = False,
    push: str | None,
    offline: bool,
    public: bool = False,
) -> None:
    """Raise ``UserError`` before hours of training where the student could not be passed on after
    them.
    """
    for flag, wanted in (("onnx", onnx), ("int8", int8)):
        missing = [name for name in ONNX_PACKAGES[flag] if find_spec(name) is None]
        if wanted and missing:
            raise UserError(
                f"--{flag}: {' and '.join(missing)} not installed; install the extra: pip install"
                " 'teacher-zoo[onnx]'"
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
        files = ["config.json", "model.safetensors", "tokenizer*.json", "*.onnx"]
        return str(api.upload_folder(repo_id=repo, folder_path=student, allow_patterns=files))
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise Unavailable(
            f"the student could not be pushed to {repo} ({error}); it is kept in {student}, push it"
            " again later"
        ) from error
