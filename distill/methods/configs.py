"""The settings of each distillation method, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlainConfig:
    """``plain``: cross-entropy alone, the control of every run.

    Parameters
    ----------
    smoothing : float
        Of the labels, in [0, 1).
    """

    smoothing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AnswersConfig:
    """Distillation of the teachers' softened answers: ``kd``, ``probe_kd`` and its variants.

    Parameters
    ----------
    answers : str
        ``probe_logits``, of a head in the task's label space, or ``logits``, of the teacher's own.
    loss : str
        ``kl`` (Hinton et al. 2015), ``dkd`` (Zhao et al. 2022), ``standardised`` (Sun et al. 2024)
        or ``dist`` (Huang et al. 2022).
    weighting : str
        Of several teachers: ``fitted`` (``TeacherInfo.weight``, ours), ``equal`` (``average``, a
        control), or ``confidence`` (``ca_mkd``, Zhang et al. 2022, of each sample; ``kl`` alone).
    temperature : float
        Softens both sides' answers.
    task, weight : float
        Weights of the cross-entropy and of the teachers' loss.
    target, others, warmup : float
        Of ``dkd``: weights of its two parts; the share of training over which they rise.
    between, within : float
        Of ``dist``: weights of the correlations between and within classes.
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
    """``transport``: outputs carried across label spaces, after Lu, Ye, Zhan 2022.

    The paper's recipe is form=cost, probe=0, temperature=4.

    Parameters
    ----------
    form : str
        ``target`` (ours): distil what the plan makes of the teacher's answer; ``cost``: minimise
        the paper's d_eps(p, q).
    weight : float
        The paper's lambda.
    probe : float
        Weight of ``probe_kd``'s term, which is added (ours).
    temperature : float
        Softens both sides' answers.
    eps, iterations, classes : float, int, int
        Of ``cost``: the entropic regularisation as a share of the largest cost, Sinkhorn
        iterations, and how many of the teacher's likeliest classes are moved.
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
    """``feature``: regression of the teachers' features, after FitNets, Romero et al. 2015.

    Parameters
    ----------
    probe : float
        Weight of ``probe_kd``'s term, which is added (ours).
    weight : float
        Of the regression.
    drop : float
        The chance that a teacher is left out for a sample, in [0, 1).
    momentum : float
        Of the running mean and spread by which a teacher's features are standardised.
    """

    probe: float = 10.0
    weight: float = 3.0
    drop: float = 0.5
    momentum: float = 0.01


@dataclass(frozen=True, kw_only=True)
class TalkConfig:
    """``talk``: messages between student and teachers, after Zhao et al. 2023.

    Parameters
    ----------
    probe : float
        Weight of ``probe_kd``'s term, which is added (ours; the paper has labels everywhere).
    rounds : int
        N of the paper.
    interact, message, state : float
        Weights of the three losses.
    width : int
        Channels of a message at each position of the grid.
    interactive : bool
        False is ``one_way``, the control: the same modules, but the teacher replies with the
        features of the sample instead of those of the student's message.
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
    """``committee``: questions to a committee of teachers, after DiverseDistill, Liu et al. 2024.

    Parameters
    ----------
    probe : float
        Weight of ``probe_kd``'s term, of the student's answers and with each task term (ours).
    distance, relevance : float
        Weights of the paper's l_d and l_r.
    embedding : int
        Width d of the teachers' embeddings E.
    width : int
        Of the small networks that make questions and read answers.
    threshold, warmup : float
        A teacher whose importance for a sample is below ``threshold`` / K is not run for it, after
        the first ``warmup`` share of training.
    through : bool
        Whether the gradient passes through the teachers' frozen layers.
    random : bool
        Shuffle the teachers' weights: ``committee_random``, the control.
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
