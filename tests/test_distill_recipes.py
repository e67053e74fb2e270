"""Every recipe: finite terms with gradient, the same from the same seed, resumable, and gone
without a trace.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distill.data.batch import Batch, StudentState, TeacherOutputs
from distill.methods.recipe import Context, Recipe, refusal
from distill.methods.registry import METHODS, build, configure
from distill.methods.states import MapNorm
from distill.teachers.ground_cost import GroundCost
from distill.teachers.info import TeacherInfo
from zoo.card import ModelCard
from zoo.errors import UserError
from zoo.loading.inputs.preprocessing import Preprocessing
from zoo.loading.network import Network
from zoo.split_teacher import SplitTeacher
from zoo.teacher import Teacher

B, C, C_T, SIZE = 8, 3, 7, 32


def tiny_teacher(kind: str, seed: int) -> Teacher:
    import timm

    torch.manual_seed(seed)
    if kind == "vit":
        module = timm.models.vision_transformer.VisionTransformer(
            img_size=SIZE, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=C_T
        )
    else:
        module = timm.models.resnet.ResNet(
            timm.models.resnet.BasicBlock,
            [1, 1, 1, 1],
            channels=(8, 8, 8, 16),
            num_classes=0 if kind == "bare" else C_T,
        )
    for parameter in module.eval().parameters():
        parameter.requires_grad_(False)
    network = Network(module, 0 if kind == "bare" else C_T, "timm")
    card = ModelCard(id=f"{kind}{seed}", source="folder")
    return Teacher(card, network, Preprocessing(input_size=(SIZE, SIZE)), device="cpu")


def info(teacher: Teacher, **changes: Any) -> TeacherInfo:
    rows = teacher.num_classes or C
    cost = torch.rand(rows, C, generator=torch.Generator().manual_seed(1))
    values: dict[str, Any] = {
        "card": teacher.card,
        "feature_dim": teacher.feature_dim,
        "columns": (4, 0, 2) if teacher.num_classes else None,
        "splitter": SplitTeacher(teacher),
        "weight": 0.5,
        "ground_cost": lambda: GroundCost(
            cost,
            float(cost.mean()),
            torch.softmax(-5 * cost, dim=1) if teacher.num_classes else None,
            2.0,
        ),
    }
    return TeacherInfo(**(values | changes))


TEACHERS = [tiny_teacher("resnet", 0), tiny_teacher("vit", 1), tiny_teacher("bare", 2)]
INFOS = tuple(info(teacher) for teacher in TEACHERS)
CONTEXT = Context(
    classes=("a", "b", "c"),
    feature_dim=12,
    hidden_shape=(12, 4, 4),
    low_shape=(6, 8, 8),
    teachers=INFOS[:2],
    seed=5,
)


class Student(nn.Module):
    """A network with the states that a recipe reads."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 6, 3, stride=4, padding=1)
        self.high = nn.Conv2d(6, 12, 3, stride=2, padding=1)
        self.head = nn.Linear(12, C)

    def forward(self, view: Tensor) -> StudentState:
        low = torch.relu(self.low(view))
        hidden = torch.relu(self.high(low))
        features = hidden.mean(dim=(2, 3))
        return StudentState(logits=self.head(features), features=features, hidden=hidden, low=low)


def lower_state(teacher: Teacher, view: Tensor) -> Tensor:
    split = INFOS[TEACHERS.index(teacher)].splitter
    return split.pooled(split.lower(teacher.view(view)))


def batch(seed: int, teachers: list[Teacher], *, labelled: int = B) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    view = torch.rand(B, 3, SIZE, SIZE, generator=generator)
    labels = torch.randint(0, C, (B,), generator=generator)
    labels[labelled:] = -1
    outputs = [teacher.forward(teacher.view(view)) for teacher in teachers]
    answers = tuple(
        TeacherOutputs(
            features=o.features,
            logits=o.logits,
            hidden=lower_state(teacher, view),
            probe_logits=torch.randn(B, C, generator=generator),
        )
        for teacher, o in zip(teachers, outputs, strict=True)
    )
    return Batch(view=view, labels=labels, index=torch.arange(B), teacher_outputs=answers)


def context_of(name: str) -> tuple[Context, list[Teacher]]:
    if (
        name == "kd"
    ):  # the head must know the task's classes; the others also meet a teacher without one
        return CONTEXT, TEACHERS[:2]
    return replace(CONTEXT, teachers=INFOS), TEACHERS


def student() -> Student:
    torch.manual_seed(3)
    return Student()


def run(
    recipe: Recipe,
    net: Student,
    teachers: list[Teacher],
    steps: range,
    optimizer: torch.optim.Optimizer,
) -> list[float]:
    values = []
    for step in steps:
        data = batch(step, teachers, labelled=B // 2)
        loss = torch.stack(list(recipe(data, net(data.view), progress=step / 10).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    return values


def start(
    name: str, settings: dict[str, str] | None = None
) -> tuple[Recipe, Student, list[Teacher], torch.optim.Optimizer]:
    context, teachers = context_of(name)
    recipe, net = build(name, context, settings), student()
    return (
        recipe,
        net,
        teachers,
        torch.optim.SGD([*net.parameters(), *recipe.parameters()], lr=0.01),
    )


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_terms_are_finite_scalars_and_reach_the_student(self, name: str) -> None:
        recipe, net, teachers, _ = start(name)
        for labelled in (B, 2, 0):
            data = batch(0, teachers, labelled=labelled)
            terms = recipe(data, net(data.view), progress=0.5)
            assert all(term.ndim == 0 and bool(torch.isfinite(term)) for term in terms.values())
            net.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            grads = [p.grad for p in net.parameters() if p.grad is not None]
            assert all(bool(torch.isfinite(g).all()) for g in grads)
            moves = bool(torch.stack([g.abs().max() for g in grads]).max() > 0)
            assert moves == (labelled > 0 or name != "plain")
        assert terms["cross_entropy"].detach() == 0  # no image had a label

    def test_every_parameter_of_the_recipe_learns_and_no_teacher_does(self, name: str) -> None:
        recipe, net, teachers, _ = start(name)
        data = batch(0, teachers)
        torch.stack(list(recipe(data, net(data.view), progress=0.05).values())).sum().backward()
        still = [
            key
            for key, p in recipe.named_parameters()
            if p.grad is None or not p.grad.abs().max() > 0
        ]
        unused = {"one_way": ("before",)}.get(
            name, ()
        )  # the teacher is not asked, so nothing stands before its patches
        assert [key for key in still if not any(part in key for part in unused)] == []
        assert all(p.grad is None for teacher in teachers for p in teacher.module.parameters())
        own = {id(p) for teacher in teachers for p in teacher.module.parameters()}
        assert own.isdisjoint(id(p) for p in recipe.parameters())

    @pytest.mark.journey
    def test_the_same_seed_does_the_same_and_resuming_changes_nothing(self, name: str) -> None:
        recipe, net, teachers, optimizer = start(name)
        whole = run(recipe, net, teachers, range(4), optimizer)
        first, other, _, second_optimizer = start(name)
        part = run(first, other, teachers, range(2), second_optimizer)
        saved = copy.deepcopy(
            (first.state_dict(), other.state_dict(), second_optimizer.state_dict())
        )
        torch.manual_seed(99)
        resumed, again, _, third_optimizer = start(name)
        for target, state in zip((resumed, again, third_optimizer), saved, strict=True):
            target.load_state_dict(state)
        assert part + run(resumed, again, teachers, range(2, 4), third_optimizer) == whole
        assert all(
            torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True)
        )

    def test_building_and_deleting_it_leaves_the_student_alone(self, name: str) -> None:
        net = student()
        view = torch.rand(2, 3, SIZE, SIZE)
        before = net(view).logits
        state = torch.random.get_rng_state()
        recipe = build(name, context_of(name)[0])
        assert torch.equal(torch.random.get_rng_state(), state)
        del recipe
        assert torch.equal(net(view).logits, before)

    def test_images_may_come_in_any_order(self, name: str) -> None:
        if name == "feature":
            pytest.skip("its running means and draws go by the step")
        recipe, net, teachers, _ = start(name)
        data = batch(0, teachers, labelled=5)
        order = torch.randperm(B)
        moved = Batch(
            view=data.view[order],
            labels=data.labels[order],
            index=data.index[order],
            teacher_outputs=tuple(
                outputs.map(lambda _, values: values[order]) for outputs in data.teacher_outputs
            ),
        )
        values = [recipe(data, net(data.view), progress=0.05)]
        recipe = build(name, context_of(name)[0])
        values.append(recipe(moved, net(moved.view), progress=0.05))
        for key in values[0]:
            torch.testing.assert_close(values[1][key], values[0][key], rtol=1e-3, atol=1e-4)

    def test_weights_sum_to_one(self, name: str) -> None:
        recipe, net, teachers, _ = start(name)
        data = batch(0, teachers)
        recipe(data, net(data.view), progress=0.5)
        weights = recipe.weights()
        assert weights is None or (
            len(weights) == len(teachers) and sum(weights) == pytest.approx(1, abs=1e-5)
        )


VARIANTS = [
    ("talk", {"rounds": "3"}),
    ("committee", {"through": "false"}),
    ("committee", {"threshold": "0"}),
    ("transport", {"form": "target"}),
    ("transport", {"classes": "3"}),
    ("transport", {"form": "cost"}),
    ("kd", {"loss": "dist"}),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_variants_run(name: str, settings: dict[str, str]) -> None:
    recipe, net, teachers, optimizer = start(name, settings)
    assert all(value == value for value in run(recipe, net, teachers, range(2), optimizer))


def test_feature_leaves_out_teachers_anew_at_every_step_but_never_the_hardest() -> None:
    recipe: Any = build("feature", replace(CONTEXT, teachers=INFOS))
    distances = torch.rand(64, 3, generator=torch.Generator().manual_seed(0))
    first, second = recipe._kept(distances), recipe._kept(distances)
    assert not torch.equal(first, second)
    hardest = distances.argmax(dim=1)
    assert bool((first[torch.arange(64), hardest] == 1).all())
    assert 0.4 < float(first.mean()) < 0.9  # a third always, the rest by half
    assert bool((recipe.eval()._kept(distances) == 1).all())


def test_one_way_has_as_many_parameters_as_talk() -> None:
    sizes = [
        sum(p.numel() for p in build(name, CONTEXT).parameters()) for name in ("talk", "one_way")
    ]
    assert sizes[0] == sizes[1]


def test_talk_hears_the_student_and_one_way_does_not() -> None:
    """What the teachers think depends on the student's low state in talk alone."""
    changes = {}
    for name in ("talk", "one_way"):
        recipe, net, teachers, _ = start(name)
        data = batch(0, teachers)
        state = net(data.view)
        other = replace(state, low=state.low.flip(0))
        recipe(data, state, progress=0.5)
        terms = [recipe(data, s, progress=0.5)["interact"] for s in (state, other)]
        changes[name] = abs(float((terms[0] - terms[1]).detach()))
    assert changes["talk"] > 1e-6
    assert changes["one_way"] == 0


def test_committee_skips_who_weighs_little_and_counts_it() -> None:
    recipe, net, teachers, _ = start("committee", {"threshold": "1", "warmup": "0.5"})
    data = batch(0, teachers)
    recipe(data, net(data.view), progress=0.1)
    assert recipe.metrics()["skipped"] == 0
    recipe(data, net(data.view), progress=0.9)
    skipped = recipe.metrics()["skipped"]
    assert 0 < skipped <= 2 / 3  # the best of three is always asked
    assert recipe.metrics()["skipped"] == 0


def test_control_of_committee_asks_another_network() -> None:
    answers = []
    for name in ("committee", "committee_random"):
        recipe: Any = build(name, CONTEXT)
        state = torch.ones(1, recipe.members[0].state.splitter.channels, 4, 4)
        answers.append(recipe.members[0].state.features_from(state))
    assert (answers[0] - answers[1]).abs().max() > 1e-3


def test_average_of_one_teacher_is_probe_kd() -> None:
    context = replace(CONTEXT, teachers=INFOS[:1])
    net, data = student(), batch(0, TEACHERS[:1])
    terms = [
        build(name, context)(data, net(data.view), progress=0.5)["answers"]
        for name in ("probe_kd", "average")
    ]
    torch.testing.assert_close(terms[0], terms[1])


def test_kd_reads_the_columns_of_the_tasks_classes() -> None:
    context = replace(CONTEXT, teachers=INFOS[:1])
    net, data = student(), batch(0, TEACHERS[:1])
    state = net(data.view)
    same = replace(state, logits=data.teacher_outputs[0].logits[:, [4, 0, 2]].clone())
    assert float(
        build("kd", context)(data, same, progress=0.5)["answers"].detach()
    ) == pytest.approx(0, abs=1e-6)


def test_transport_weights_favour_the_cheaper_teacher() -> None:
    from distill.methods.transport import committee_weights

    assert committee_weights([1.0, 1.0]).tolist() == [0.5, 0.5]
    cheap, dear = committee_weights([1.0, 3.0]).tolist()
    assert cheap == pytest.approx(
        1 / (1 + torch.tensor(-2.0).exp().item())
    )  # costs are one sigma from their mean
    assert cheap + dear == pytest.approx(1)
    torch.testing.assert_close(committee_weights([10.0, 30.0]), committee_weights([1.0, 3.0]))


def test_a_teacher_of_shifted_stats_is_asked_in_its_own_range() -> None:
    from distill.methods.states import TeacherState

    state = TeacherState(INFOS[0])
    data = batch(0, TEACHERS[:1])
    for step in range(TeacherState.LEARN):
        state.standardised(batch(step, TEACHERS[:1]).teacher_outputs[0])
    own = state.standardised(data.teacher_outputs[0])
    assert not state.learning
    assert own.mean().abs() < 0.3
    assert 0.5 < float(own.std()) < 1.5


@pytest.mark.parametrize(
    ("name", "context", "reason"),
    [
        ("probe_kd", replace(CONTEXT, teachers=()), "needs a teacher and none was given"),
        (
            "probe_kd_dkd",
            replace(CONTEXT, classes=("a", "b")),
            "at least three classes and the task has 2",
        ),
        ("kd", replace(CONTEXT, teachers=INFOS), "bare2 does not know all 3 classes"),
        (
            "talk",
            replace(
                CONTEXT, teachers=(replace(INFOS[0], splitter=None, split_reason="Levit is odd"),)
            ),
            "Levit is odd",
        ),
        ("ca_mkd", replace(CONTEXT, teachers=INFOS[:1]), "1 was given"),
    ],
)
def test_refusals_name_what_is_missing(name: str, context: Context, reason: str) -> None:
    assert reason in (refusal(METHODS[name].needs, context) or "")
    with pytest.raises(UserError, match=f"--method {name} cannot run here"):
        build(name, context)


def test_settings() -> None:
    assert configure("probe_kd", {"weight": "2", "loss": "dkd"}) == replace(
        METHODS["probe_kd"].config, weight=2.0, loss="dkd"
    )
    assert configure("committee", {"through": "false"}).through is False
    with pytest.raises(UserError, match="no method 'probekd'; did you mean 'probe_kd'"):
        configure("probekd")
    with pytest.raises(
        UserError, match="no setting of --method talk 'round'; did you mean 'rounds'"
    ):
        configure("talk", {"round": "2"})
    with pytest.raises(UserError, match="rounds=two of --method talk is no int"):
        configure("talk", {"rounds": "two"})


def test_the_registry_loads_no_heavy_library() -> None:
    code = (
        "import sys, distill.methods; print([m for m in ('torch', 'timm', 'ot', 'faiss') if m in"
        " sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["transport", "feature", "talk", "committee"])
def test_the_probe_term_is_probe_kds_and_weighs_as_told(name: str) -> None:
    context, teachers = context_of(name)
    data, net = batch(0, teachers, labelled=3), student()
    state = net(data.view)
    own = build("probe_kd", context, {"weight": "2"})(data, state, progress=0.5)["answers"]
    found = build(name, context, {"probe": "2"})(data, state, progress=0.5)
    assert torch.allclose(found["answers"], own)
    assert "answers" not in build(name, context, {"probe": "0"})(data, state, progress=0.5)


def test_map_norm_is_group_norm_in_one_group() -> None:
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, 4, 4, generator=draw)
    ours, torchs = MapNorm(5), torch.nn.GroupNorm(1, 5)
    with torch.no_grad():
        for mine, its in zip(ours.parameters(), torchs.parameters(), strict=True):
            mine.copy_(torch.randn(5, generator=draw))
            its.copy_(mine)
    assert torch.allclose(ours(maps), torchs(maps), atol=1e-6)
