"""The settings of each distillation method, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlainConfig:
    """plain: cross-entropy alone, the control of every run; ``smoothing`` of its labels."""

    smoothing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AnswersConfig:
    """kd (Hinton et al. 2015), probe_kd and its variants: distillation of the teachers' softened
    answers.

    ``answers``: ``probe_logits`` or ``logits`` (of ``TeacherOutputs``); ``loss``: kl, dkd (Zhao et
    al. 2022), standardised (Sun et al. 2024) or dist (Huang et al. 2022); ``weighting`` of several
    teachers: fitted (``TeacherInfo.weight``), equal (average, a control), or confidence (ca_mkd,
    Zhang et al. 2022, a control: of each image; kl alone). ``task`` weighs the cross-entropy,
    ``weight`` the teachers. dkd weighs its parts by ``target`` and ``others`` and rises over the
    first ``warmup`` share of training; dist weighs ``between`` and ``within``.
    """

    answers: str = "probe_logits"
    loss: str = "kl"
    weighting: str = "fitted"
    temperature: float = 1.0
    task: float = 1.0
    weight: float = 10.0
    target: float = 1.0
    others: float = 8.0
    warmup: float = 1 / 12
    between: float = 2.0
    within: float = 2.0


@dataclass(frozen=True, kw_only=True)
class TransportConfig:
    """After Lu, Ye, Zhan 2022. ``form`` is ``target`` (ours: the answer that the plan makes of the
    teacher's) or ``cost``, the paper's objective d_eps(p, q), with ``eps`` a share of the largest
    cost and ``classes`` the teacher's likeliest that are moved. ``weight`` is lambda; ``probe``
    adds probe_kd's term with that weight (ours). The paper's recipe: form=cost, probe=0,
    temperature=4.
    """

    form: str = "target"
    weight: float = 2.0
    probe: float = 10.0
    temperature: float = 2.0
    eps: float = 0.05
    iterations: int = 50
    classes: int = 50


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """After FitNets, Romero et al. 2015. ``weight`` of the regression; ``drop`` is the chance that
    a teacher is left out for an image; ``probe`` as in talk.
    """

    probe: float = 10.0
    weight: float = 3.0
    drop: float = 0.5
    momentum: float = 0.01


@dataclass(frozen=True, kw_only=True)
class TalkConfig:
    """After Talking Models, Zhao et al. 2023. ``rounds`` N; weights of the three losses; ``width``
    of a message at each position of the grid.

    ``interactive`` False is the one-way control: the same modules, but the teacher speaks of its
    own features. ``probe`` adds probe_kd's term with that weight (ours; the paper has labels
    everywhere).
    """

    probe: float = 10.0
    rounds: int = 1
    interact: float = 1.0
    message: float = 0.1
    state: float = 0.1
    width: int = 64
    interactive: bool = True


@dataclass(frozen=True, kw_only=True)
class CommitteeConfig:
    """After DiverseDistill, Liu et al. 2024. ``distance`` is l_d and ``relevance`` l_r;
    ``embedding`` the width d of the teachers' embeddings E.

    A teacher whose importance for an image is below ``threshold`` / K is not asked, after the first
    ``warmup`` share of training. ``through`` False cuts the gradient at the frozen layers;
    ``random`` shuffles the teachers' weights (the control). ``probe`` adds probe_kd's term, of the
    student's answers and wherever the task term stands, with that weight (ours).
    """

    probe: float = 10.0
    distance: float = 1.0
    relevance: float = 1.0
    embedding: int = 64
    width: int = 128
    threshold: float = 0.5
    warmup: float = 0.1
    through: bool = True
    random: bool = False


Config = (
    PlainConfig | AnswersConfig | TransportConfig | FeatureConfig | TalkConfig | CommitteeConfig
)
