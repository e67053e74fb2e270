"""What a score's value says, in one sentence for its reader."""

from __future__ import annotations

_SPACES = {
    "images": "from an image and what the teacher calls it to my class, in whitened features",
    "names": (
        "from the teacher's answer to my class, where a step costs 1 - cos between the two class"
        " names"
    ),
    "prototypes": (
        "from the teacher's answer to my class, a step costing 1 - cos of its images and my class"
        " means"
    ),
    "classifier": (
        "from the teacher's answer to my class, a step costing 1 - cos of its last layer's rows and"
        " my class means"
    ),
}
_KINDS = {
    "": "Minus the mean transport cost {}.",
    "relative": (
        "How many nats about the true label the transport cost {} tells: 0 is chance, the logarithm"
        " of the number of classes the most (equal classes)."
    ),
    "debiased": "Minus the Sinkhorn divergence {}: a spread-out answer is not punished twice.",
    "aggregate": "Minus the transport cost {}, of the mean answer against the class frequencies.",
    "aggregate_relative": (
        "What the mean answer's transport {} saves against labels that say nothing, as a share: at"
        " most 1."
    ),
    "aggregate_debiased": (
        "Minus the Sinkhorn divergence {}, of the mean answer against the class frequencies."
    ),
}
_OTHERS = {
    "knn": "Leave-one-out accuracy of the nearest neighbours in the teacher's features, 0 to 1.",
    "linear_probe": "Leave-one-out accuracy of a ridge classifier on the features, 0 to 1.",
    "logme": (
        "Log marginal evidence of a Bayesian linear regression from features to labels, a sample"
        " and class."
    ),
    "hscore": "Between-class share of the features' spread, with a shrunken covariance.",
    "leep": (
        "Mean log likelihood of the true class given the teacher's answer, through the joint"
        " distribution of both labels."
    ),
    "nleep": "The same as leep, through a Gaussian mixture on the features in place of the head.",
    "nce": "Minus the conditional entropy of my class given the teacher's likeliest class.",
    "parc": (
        "Rank correlation between the distances of features and those of labels, over pairs of"
        " images."
    ),
    "transrate": "Coding rate of the features less that within the classes.",
    "gbc": (
        "Minus the overlap (Bhattacharyya) of every pair of classes, as Gaussians in the features."
    ),
    "sfda": (
        "Log likelihood after a regularised Fisher discriminant that spreads the confusable"
        " classes."
    ),
    "otce": (
        "Minus the conditional entropy of my class given the teacher's, under a transport plan"
        " between their features."
    ),
}


def meaning(name: str) -> str:
    """The sentence for the score called ``name`` (a full name of the registry)."""
    if name in _OTHERS:
        return _OTHERS[name]
    _, space, *kind = name.split("_", 2)
    return _KINDS[kind[0] if kind else ""].format(_SPACES[space])
