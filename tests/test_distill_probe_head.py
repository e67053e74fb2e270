"""Laws of the cross-fitted heads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distill.teachers.probe_head import fit, mixture, stratified
from zoo.errors import UserError

N, D, C = 120, 12, 3


def draw(
    seed: int, *, signal: float, n: int = N, views: int = 2, width: int = D
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % C
    centres = torch.randn(C, width, generator=generator)
    image = signal * centres[labels] + torch.randn(n, width, generator=generator)
    return torch.stack(
        [image + 0.1 * torch.randn(n, width, generator=generator) for _ in range(views)]
    ), labels


def nll(logits: Tensor, labels: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits, labels))


def test_separable_features_are_learned_and_noise_is_not() -> None:
    features, labels = draw(0, signal=3.0)
    head = fit(features, labels, num_classes=C)
    assert head.accuracy > 0.95
    assert head.likelihood > -0.2
    shuffled = fit(
        features,
        labels[torch.randperm(N, generator=torch.Generator().manual_seed(1))],
        num_classes=C,
    )
    assert shuffled.accuracy < 0.55
    assert (
        -1.25 < shuffled.likelihood < -1.0
    )  # calibrated: what knows nothing says so (log 3 = 1.0986)


@pytest.mark.parametrize("width", [D, 200])
def test_no_head_saw_the_image_it_answers(width: int) -> None:
    """With more channels than images every head fits its own images perfectly; a leak would show as
    accuracy 1.
    """
    features, labels = draw(2, signal=0.0, width=width)
    head = fit(features, labels, num_classes=C)
    own = head.logits(features, torch.arange(N))
    assert own.shape == (2, N, C)
    assert float((own.argmax(-1) == labels).float().mean()) < 0.5


def test_views_of_an_image_share_a_fold_and_classes_are_spread() -> None:
    labels = torch.cat([torch.full((25,), c) for c in range(C)])
    fold = stratified(labels, folds=5, seed=3)
    for c in range(C):
        assert torch.bincount(fold[labels == c], minlength=5).tolist() == [5] * 5
    assert torch.equal(fold, stratified(labels, folds=5, seed=3))
    assert not torch.equal(fold, stratified(labels, folds=5, seed=4))


def test_unlabelled_images_get_the_mean_of_all_heads_and_labelled_ones_their_own() -> None:
    features, labels = draw(4, signal=2.0)
    labels = labels.clone()
    labels[::2] = -1
    head = fit(features, labels, num_classes=C)
    assert torch.equal(head.fold >= 0, labels >= 0)
    answers = head.logits(features[0], torch.arange(N))
    torch.testing.assert_close(answers[::2], head.predict(features[0][::2]), rtol=1e-4, atol=1e-4)
    for n in (1, 33):
        expected = features[0][n] @ head.weights[head.fold[n]].T + head.bias[head.fold[n]]
        torch.testing.assert_close(answers[n], expected, rtol=1e-4, atol=1e-4)
    part = torch.tensor([5, 2, 77])
    torch.testing.assert_close(
        head.logits(features[0][part], part), answers[part], rtol=1e-4, atol=1e-4
    )


def test_left_out_likelihood_is_what_the_answers_say() -> None:
    features, labels = draw(5, signal=1.0)
    head = fit(features, labels, num_classes=C)
    answers = head.logits(features, torch.arange(N))
    assert -nll(answers.flatten(0, 1), labels.repeat(2)) == pytest.approx(head.likelihood, abs=1e-4)
    assert float((answers.argmax(-1) == labels).float().mean()) == pytest.approx(
        head.accuracy, abs=1e-6
    )
    assert all(
        nll(scale * answers.flatten(0, 1), labels.repeat(2)) > -head.likelihood - 1e-4
        for scale in (0.7, 1.4)
    )


def test_scale_and_shift_of_a_channel_and_order_of_images_do_not_matter() -> None:
    features, labels = draw(6, signal=1.0)
    head = fit(features, labels, num_classes=C)
    scales = torch.linspace(0.1, 50, D)
    moved = fit(features * scales + 3, labels, num_classes=C)
    answers = head.logits(features, torch.arange(N))
    torch.testing.assert_close(
        moved.logits(features * scales + 3, torch.arange(N)), answers, rtol=1e-2, atol=1e-2
    )
    torch.testing.assert_close(
        fit(features[:1].half(), labels, num_classes=C).likelihood,
        fit(features[:1], labels, num_classes=C).likelihood,
        rtol=1e-2,
        atol=1e-2,
    )


def test_wide_and_narrow_paths_agree() -> None:
    """More images than channels goes by the covariance, fewer by the Gram matrix; padding by dead
    channels joins them.
    """
    features, labels = draw(7, signal=1.0, views=1)
    padded = torch.cat([features, torch.zeros(1, N, 200)], dim=2)
    narrow, wide = (
        fit(x, labels, num_classes=C, shrinkages=(s,))
        for x, s in ((features, 0.1), (padded, 0.1 * (D + 200) / D))
    )
    torch.testing.assert_close(
        wide.logits(padded, torch.arange(N)),
        narrow.logits(features, torch.arange(N)),
        rtol=1e-2,
        atol=1e-2,
    )


def test_a_class_with_one_image_or_none() -> None:
    features, labels = draw(8, signal=2.0)
    labels = labels.clone()
    labels[labels == 2] = 1
    labels[0] = 3
    head = fit(features, labels, num_classes=5)  # class 3 has one image, classes 2 and 4 none
    answers = head.logits(features, torch.arange(N))
    assert torch.isfinite(answers).all()
    assert not torch.isin(answers.argmax(-1), torch.tensor([2, 4])).any()


def test_refusals() -> None:
    features, labels = draw(9, signal=1.0)
    with pytest.raises(UserError, match="at least two classes, the training split has 1"):
        fit(features, torch.zeros_like(labels), num_classes=C)
    features[0, 3, 3] = torch.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        fit(features, labels, num_classes=C)


def test_mixture_drops_what_is_useless_and_shares_among_copies() -> None:
    labels = torch.arange(N) % C
    good = 2.0 * torch.nn.functional.one_hot(labels, C)
    wrong = 2.0 * torch.nn.functional.one_hot((labels + 1) % C, C)
    weights = mixture(torch.stack([good, wrong, good]), labels)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    assert float(weights[1]) < 0.01
    torch.testing.assert_close(weights[0], weights[2])
    torch.testing.assert_close(mixture(good[None], labels), torch.ones(1))


def test_mixture_is_at_least_as_likely_as_the_best_and_the_average() -> None:
    labels = torch.arange(N) % C
    generator = torch.Generator().manual_seed(0)
    answers = torch.stack(
        [
            s * torch.nn.functional.one_hot(labels, C) + torch.randn(N, C, generator=generator)
            for s in (0.5, 1.5, 1.0)
        ]
    )

    def likelihood(weights: Tensor) -> float:
        joint = (torch.softmax(answers, 2) * weights[:, None, None]).sum(0)
        return float(joint.log()[torch.arange(N), labels].mean())

    best = likelihood(mixture(answers, labels))
    assert all(best >= likelihood(w) - 1e-6 for w in (*torch.eye(3), torch.full((3,), 1 / 3)))


def test_twins_share_a_fold_so_that_no_head_answers_a_picture_it_was_fitted_on() -> None:
    """Noise that is right out of fold by its twins alone, in more channels than pictures."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(60, 200, generator=generator)
    features, labels = pictures.repeat(2, 1), (torch.arange(60) % C).repeat(2)
    groups = torch.arange(60).repeat(2)
    apart = fit(features, labels, num_classes=C)
    together = fit(features, labels, num_classes=C, groups=groups)
    assert (together.fold[:60] == together.fold[60:]).all()
    assert apart.accuracy > 0.8
    assert together.accuracy < 0.5
    none = fit(features, labels, num_classes=C, groups=torch.full((120,), -1))
    assert (none.fold == apart.fold).all()
