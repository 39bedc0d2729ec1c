"""The exercises of notebook 01, autoencoder basics."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from vaelib.checks.verdict import report, try_answer, unknown_mistake


def autoencoder_size(answer: int) -> None:
    """How many weights and biases the autoencoder 784-100-3-100-784 has."""
    widths = [784, 100, 3, 100, 784]
    pairs = list(itertools.pairwise(widths))
    products = [a * b for a, b in pairs]
    biases = widths[1:]
    layers = [(a + 1) * b for a, b in pairs]
    mistakes = {
        "the biases are missing: each layer has one for each of its outputs": (
            sum(products)
        ),
        "that is the encoder alone: the decoder has weights of its own": sum(
            layers[:2]
        ),
        "that is the decoder alone: the encoder has weights of its own": sum(
            layers[2:]
        ),
        "that is the encoder alone, and its biases are missing": sum(products[:2]),
        "that is the decoder alone, and its biases are missing": sum(products[2:]),
        "that is the encoder twice: the decoder's last bias has 784 entries, not 3": (
            2 * sum(layers[:2])
        ),
        "that is the decoder twice: the encoder's last bias has 3 entries, not 784": (
            2 * sum(layers[2:])
        ),
        "one bias a layer is counted: there is one for each output of the layer": (
            sum(products) + len(pairs)
        ),
        "that is without hidden layers: 784 to 3 and back": 784 * 3 + 3 + 3 * 784 + 784,
        "that is the number of units: count the connections between them": sum(widths),
        "that is the biases alone: the weights are missing": sum(biases),
        "that is the first layer alone: there are four": layers[0],
        "that is the last layer alone: there are four": layers[3],
    }
    right = "a layer from a to b has (a + 1) b numbers, and there are four layers"
    report(
        try_answer(lambda: answer),
        torch.tensor(float(sum(layers))),
        {text: torch.tensor(float(value)) for text, value in mistakes.items()},
        right,
        rtol=1e-7,
    )


def pca_reconstruction(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """x (N, D) rebuilt from a mean (D,) and q directions (D, q): (N, D)."""
    generator = torch.Generator().manual_seed(0)
    x = 2 + torch.randn(6, 5, generator=generator, dtype=torch.float64)
    mean = torch.tensor([2.0, -1.0, 0.5, 1.5, 3.0], dtype=torch.float64)
    normal = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    directions = torch.linalg.qr(normal).Q  # (D, q)
    onto = directions @ directions.T  # (D, D)
    centred = x - mean
    truth = mean + centred @ onto
    own = x.mean(0)
    mistakes = {
        "the mean is added back, but was not subtracted before": mean + x @ onto,
        "the mean is subtracted, but not added back": centred @ onto,
        "the mean is left out: directions go through the mean, not through 0": x @ onto,
        "this is x itself: nothing was compressed": x,
        "this is the mean alone: add what lies along the directions": (
            mean.expand_as(x)
        ),
        "these are the codes, (N, q): go back to D pixels": centred @ directions,
        "these are codes of pictures whose mean was not subtracted": x @ directions,
        "only the first direction is used": (
            mean + centred @ directions[:, :1] @ directions[:, :1].T
        ),
        "only the last direction is used: wanted are all that are given": (
            mean + centred @ directions[:, -1:] @ directions[:, -1:].T
        ),
        "that is what is lost: wanted is what is kept": centred - centred @ onto,
        "that is what is lost, with the mean added: wanted is what is kept": (
            mean + centred - centred @ onto
        ),
        "the mean of x is used: wanted is the mean that is given": (
            own + (x - own) @ onto
        ),
        "the mean is added where it is to be subtracted": mean + (x + mean) @ onto,
        "the mean is subtracted at the end where it is to be added": (
            centred @ onto - mean
        ),
    }
    attempt = try_answer(answer, x, mean, directions)
    if isinstance(attempt, str) and "shapes cannot be multiplied" in attempt:
        attempt += (
            "; x is (N, D) and directions (D, q), so x @ directions fits, and the way "
            "back is @ directions.T"
        )
    right = "subtract the mean, go to the code and back, add the mean"
    report(attempt, truth, mistakes, right)


def eckart_young_error(answer: Callable[[Tensor, int], float]) -> None:
    """The least squared error at width q, from eigenvalues (D,) in ascending order."""
    values = [0.12, 0.23, 0.41, 0.76, 1.1, 1.9, 3.4, 6.2]
    values = torch.tensor(values, dtype=torch.float64)
    q, count = 3, len(values)
    truth, kept = values[: count - q].sum(), values[count - q :].sum()
    mistakes = {
        "that is what the kept directions hold: wanted is what is lost": kept,
        "the order is the other way round: eigh gives the smallest first": (
            values[q:].sum()
        ),
        "the smallest q are added: wanted are all but the largest q": values[:q].sum(),
        "off by one: that keeps q - 1 directions": values[: count - q + 1].sum(),
        "off by one: that keeps q + 1 directions": values[: count - q - 1].sum(),
        "divided by the number of pixels: the error is summed over them": truth / count,
        "that is a root: the squared error is wanted": truth.sqrt(),
        "eigenvalues are squared already: they are variances": (
            values[: count - q].square().sum()
        ),
        "they are roots of variances here: add the eigenvalues themselves": (
            values[: count - q].sqrt().sum()
        ),
        "averaged over the discarded ones: they must be added": truth / (count - q),
        "that is all the variance: the kept directions cost nothing": values.sum(),
        "that is the largest discarded one alone: add them all": values[count - q - 1],
        "as a share of the variance: wanted is the error itself": truth / values.sum(),
        "that is the share of the variance that is kept": kept / values.sum(),
    }
    attempt = try_answer(answer, values, q)
    if isinstance(attempt, Tensor) and (attempt.numel() == 1):
        # Right for these, but what if nothing is kept?
        none = try_answer(answer, values, 0)
        wrong = not isinstance(none, Tensor) or none.numel() != 1
        wrong = wrong or not torch.isclose(none.reshape(()), values.sum())
        if wrong and torch.isclose(attempt.reshape(()), truth):
            attempt = (
                "right for q = 3, but q = 0 must give all the variance: values[:-0] "
                "is empty in Python, so write values[: len(values) - q]"
            )
    report(attempt, truth, mistakes, "the sum of all eigenvalues but the largest q")


def principal_angles(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Angles (q,) in radians between the spans of two matrices (D, q), any order."""
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 6, 2, generator=generator, dtype=torch.float64)
    a[:, 1] += 2 * a[:, 0]  # columns that are neither of length 1 nor at right angles
    b[:, 0] = 0.5 * b[:, 0] + a[:, 0]
    q_a, q_b = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    cosines = torch.linalg.svdvals(q_a.T @ q_b)
    truth = cosines.acos()  # ascending, as the cosines descend
    unit_a, unit_b = a / a.norm(dim=0), b / b.norm(dim=0)
    raw, unit = torch.linalg.svdvals(a.T @ b), torch.linalg.svdvals(unit_a.T @ unit_b)
    pairs = (unit_a * unit_b).sum(0)
    mistakes = {
        "these are cosines: the angles are their acos": cosines,
        "these are in degrees: wanted are radians": truth.rad2deg(),
        "asin is taken: the singular values are cosines": cosines.asin(),
        "these are the squares of cosines: take the root, then acos": cosines.square(),
        "acos of squared cosines: take the root first": cosines.square().acos(),
        "these are sines: the angles are their asin": truth.sin(),
        "the bases are not orthonormal: take Q of torch.linalg.qr of each first": (
            raw.clamp(max=1).acos()
        ),
        "the columns have length 1 now, but not right angles: take Q of qr": (
            unit.clamp(max=1).acos()
        ),
        "these are angles column by column: they depend on the bases": pairs.acos(),
        "these are the angles of the columns of Q: take singular values": (
            (q_a * q_b).sum(0).clamp(-1, 1).acos()
        ),
        "these are acos of the entries of Q_A^T Q_B: take its singular values": (
            (q_a.T @ q_b).clamp(-1, 1).acos()
        ),
        "that is the largest angle alone: there are q": truth.max(),
        "that is the smallest angle alone: there are q": truth.min(),
        "that is the mean of the angles: there are q": truth.mean(),
        "the eigenvalues of Q_A^T Q_B are taken: wanted are its singular values": (
            torch.linalg.eigvals(q_a.T @ q_b).real.clamp(-1, 1).acos()
        ),
    }
    attempt = try_answer(answer, a, b)
    if isinstance(attempt, Tensor) and attempt.shape == truth.shape:
        attempt = attempt.sort().values  # any order will do
    mistakes = {
        text: wrong.sort().values if wrong.shape == truth.shape else wrong
        for text, wrong in mistakes.items()
    }
    if isinstance(attempt, Tensor) and attempt.isnan().any():
        attempt = (
            "it contains NaN: acos was given a number above 1, as it is where the "
            "bases are not orthonormal: take Q of torch.linalg.qr of each first"
        )
    right = "orthonormal bases, singular values, acos"
    report(attempt, truth, mistakes, right)


def fitted_draws(answer: Callable[[Tensor, int], Tensor]) -> None:
    """n codes (n, Z) from a bell curve with the mean and covariance of codes (N, Z)."""
    n, zero = 40_000, torch.zeros(2, dtype=torch.float64)
    factor = torch.tensor([[2.0, 0.0], [0.9, 1.2]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    codes = torch.tensor([3.0, -2.0]) + normal @ factor.T
    mean, covariance = codes.mean(0), codes.T.cov()  # (Z,), (Z, Z)
    cholesky = torch.linalg.cholesky(covariance)
    identity = torch.eye(2, dtype=torch.float64)
    own = covariance.diagonal().diag()  # what is left without the correlation
    attempt = try_answer(answer, codes, n)
    if isinstance(attempt, Tensor):
        if attempt.shape != (n, 2):
            print(f"Not yet: {unknown_mistake(attempt, torch.zeros(n, 2))}.")
            return
        if (attempt == attempt[0]).all():
            same = torch.allclose(attempt[0], mean)
            print(
                "Not yet: every row is the mean: nothing is drawn."
                if same
                else "Not yet: all rows are one draw: each needs noise of its own."
            )
            return
        if len(attempt.unique(dim=0)) <= len(codes):
            print("Not yet: these are codes of the data again: draw new ones.")
            return
        attempt = _describe_cloud(attempt.mean(0), attempt.T.cov())
    mistakes = {
        "these are draws from N(0, I): they know nothing of the codes": (
            zero,
            identity,
        ),
        "the spreads are right, but the latents are drawn one by one: their "
        "correlation is lost": (mean, own),
        "the covariance multiplies the noise: take its Cholesky factor": (
            mean,
            covariance @ covariance.T,
        ),
        "the Cholesky factor L is the wrong way round: for rows, noise @ L.T": (
            mean,
            cholesky.T @ cholesky,
        ),
        "the mean is missing: the draws lie around 0": (zero, covariance),
        "the mean and the correlation are missing": (zero, own),
        "the spread is missing: only the mean is the codes'": (mean, identity),
        "the variances are used where their roots, the spreads, are wanted": (
            mean,
            own @ own,
        ),
        "one number is drawn for all latents of a code: each needs its own": (
            mean,
            torch.outer(own.diagonal().sqrt(), own.diagonal().sqrt()),
        ),
        "the roots of the covariance's entries are no root of the matrix: take its "
        "Cholesky factor": (mean, covariance.sqrt() @ covariance.sqrt().T),
        "rand is uniform in [0, 1): the noise must be normal, randn": (
            mean + cholesky.sum(1) / 2,
            covariance / 12,
        ),
    }
    described = {text: _describe_cloud(*known) for text, known in mistakes.items()}
    right = "new codes with the mean, the spreads and the correlation of the data's"
    report(attempt, _describe_cloud(mean, covariance), described, right, rtol=0.04)


def _describe_cloud(mean: Tensor, covariance: Tensor) -> Tensor:
    """What tells two-dimensional clouds apart, (5,): mean, spreads, correlation."""
    spreads = covariance.diagonal().clamp(min=1e-9).sqrt()
    correlation = covariance[0, 1] / spreads.prod()
    # Moved away from 0, since differences are judged relative to size.
    return torch.cat([mean + 5, spreads, correlation[None] + 1]).double()
