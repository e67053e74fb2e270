"""``python -m distill.train``: train my student from the best teachers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.options import DEFAULT_METHOD, STEPS, Options, from_config, settings_of
from distill.run import RunFolder
from distill.training.live import warn
from zoo.errors import UserError
from zoo.terminal.command import run, split_list

if TYPE_CHECKING:
    from zoo.card import ModelCard


def _command(
    context: typer.Context,
    task: Annotated[
        str | None,
        typer.Option(help="a folder of class folders or Parquet files, hf:org/name, or digits"),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="a network of timm, as mobilenetv3_small_050, or its folder")
    ] = None,
    ranking: Annotated[
        str | None, typer.Option(help="ranking.json of selection.rank; its committee teaches")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="at most so many teachers of the committee")
    ] = None,
    method: Annotated[
        str, typer.Option(help="how to distil; 'plain' is the control")
    ] = DEFAULT_METHOD,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="a setting of the method, NAME=VALUE")
    ] = None,
    unlabelled: Annotated[
        str | None, typer.Option(help="a folder of more images without labels")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option(help="start from the student's pretrained weights")
    ] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help=f"default: about {STEPS} steps")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="of the student's weights and of the order of images")
    ] = 0,
    out: Annotated[Path, typer.Option(help="the run folder")] = Path("run"),
    resume: Annotated[
        bool, typer.Option(help="go on with the run in --out; other options may be left out")
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=8, help="the student's input in pixels (default 64)")
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(min=1, help="views of each image that the teachers answer (default 1)"),
    ] = None,
    teacher_size: Annotated[
        int | None, typer.Option(min=32, help="teachers look at so many pixels at most: faster")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2)] = 64,
    rate: Annotated[float | None, typer.Option(min=1e-9, help="learning rate")] = None,
    optimizer: Annotated[str, typer.Option(help="adamw or sgd")] = "adamw",
    labelled_share: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="share of a batch that is labelled")
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(help="exchange left and right (default: unless digits or letters)"),
    ] = None,
    mix: Annotated[
        float,
        typer.Option(min=0, max=1, help="share of images blended, taught by the teachers alone"),
    ] = 0.0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
    accumulate: Annotated[int, typer.Option(min=1, help="parts that a batch is computed in")] = 1,
    student_args: Annotated[
        str | None, typer.Option(help="further arguments of the network, as JSON")
    ] = None,
    control: Annotated[
        bool, typer.Option(help="train the plain control too, once, to tell whether teachers help")
    ] = True,
    offline: Annotated[bool, typer.Option(help="no network call at all")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto")] = "auto",
    catalogue: Annotated[Path | None, typer.Option(help="the catalogue's file")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="also write student/model.onnx")] = False,
    push: Annotated[
        str | None, typer.Option(help="upload the student to the Hub as ORG/NAME")
    ] = None,
) -> int:
    """Train a small student from the teachers of a ranking, and export it for timm."""
    from distill.experiment import prepare
    from distill.methods.registry import METHODS, configure
    from distill.student.model_card import licence_warning
    from distill.student.share import check
    from distill.training.processes import resolve_device
    from distill.training.trainer import train, train_control

    if offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    if optimizer not in ("adamw", "sgd"):
        raise UserError(f"no optimizer {optimizer!r} (valid: adamw, sgd)")
    device = resolve_device(device)
    check(onnx=onnx, push=push, offline=offline)
    options, cards = _options(context, out, resume=resume)
    configure(options.method, settings_of(options.settings))
    before = RunFolder(out).config()["task"] if cards is not None else {}
    experiment = prepare(
        options,
        device=device,
        offline=offline,
        catalogue=catalogue,
        cards=cards,
        revision=before.get("revision"),
    )
    if not experiment.committee.cards and METHODS[options.method].needs:
        warn(
            "the ranking's committee is empty: none of the teachers helps this task, so the student"
            " is trained plainly"
        )
        options = replace(options, method="plain", settings=())
    for card in experiment.committee.cards if options.method != "plain" else ():
        if text := licence_warning(card.id, card.license):
            warn(text)
    beside = train_control(experiment, options) if control and options.method != "plain" else None
    done = train(experiment, options, out, resume=resume, control=beside)
    if int(os.environ.get("RANK", "0")) == 0:  # of several processes one speaks
        _summary(done, onnx=onnx, push=push)
    return 0


def _options(
    context: typer.Context, out: Path, *, resume: bool
) -> tuple[Options, tuple[ModelCard, ...] | None]:
    """The options of this command, or with ``resume`` those of the run in ``out`` with its
    committee.
    """
    chosen = {field.name: context.params[field.name] for field in fields(Options)}
    chosen["settings"] = tuple(split_list(chosen["settings"]))
    if resume and (out / "config.json").exists():
        options, cards = from_config(RunFolder(out).config())
        for name, value in chosen.items():
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                _unchanged(
                    "set" if name == "settings" else name.replace("_", "-"),
                    getattr(options, name),
                    value,
                )
        return options, cards
    if resume and chosen["task"] is None:
        raise UserError(
            f"--resume: {out} holds no run; give the --out of the run, or --task and --student for"
            " a new one"
        )
    for name in ("task", "student"):
        if chosen[name] is None:
            raise UserError(
                f"--{name} is missing; expected such as --task mydata --student"
                " mobilenetv3_small_050"
            )
    return Options(**chosen), None


def _unchanged(option: str, kept: Any, written: Any) -> None:
    """Raise ``UserError`` where an option of the resuming command differs from the run's."""
    if written != kept:
        old, new = (
            ",".join(value) if isinstance(value, tuple) else value for value in (kept, written)
        )
        raise UserError(
            "the run was made with"
            f" {f'no --{option}' if old in (None, '') else f'--{option} {old}'}, this command says"
            f" {new}: leave it out, or give another --out"
        )


def _summary(run: RunFolder, *, onnx: bool, push: str | None) -> None:
    from distill.student.share import push_student, write_onnx

    results = run.results()
    for split in ("validation", "test"):
        one = results[split]
        value, low, high = (100 * one[name] for name in ("accuracy", "low", "high"))
        print(f"{split}: {value:.1f} % ({low:.1f} to {high:.1f}) of {one['images']} images")
    if results.get("verdict"):
        print(results["verdict"])
    print(f"student: {run.student}")
    if onnx:
        print(f"onnx: {write_onnx(run.student)}")
    if push:
        print(f"pushed: {push_student(run.student, run.path / 'README.md', push)}")


def main(argv: Sequence[str] | None = None) -> int:
    return run(_command, argv, name="distill.train")


if __name__ == "__main__":
    raise SystemExit(main())
