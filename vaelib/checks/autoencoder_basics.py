"""The exercises of notebook 01, autoencoder basics."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from vaelib.checks.verdict import report, try_answer, unknown_mistake


def autoencoder_size(answer: tuple[int, int]) -> None:
    """Weights and biases of the encoder 784-100-3, and of the decoder 3-100-784."""
    widths = [[784, 100, 3], [3, 100, 784]]
    pairs = [list(itertools.pairwise(part)) for part in widths]
    products = [sum(a * b for a, b in part) for part in pairs]
    encoder, decoder = (sum((a + 1) * b for a, b in part) for part in pairs)
    both = encoder + decoder
    mistakes = {
        "that is both together: give two numbers, (encoder, decoder)": both,
        "that is both together, and the biases are missing": sum(products),
        "that is the encoder alone: the decoder has weights of its own": encoder,
        "that is the decoder alone: the encoder has weights of its own": decoder,
        "the biases are missing: each layer has one for each of its outputs": products,
        "the order is (encoder, decoder), and a layer has a bias for each of its "
        "*outputs*, not of its inputs": (decoder, encoder),
        "that is the encoder twice: the decoder's last bias has 784 entries, not 3": (
            encoder,
            encoder,
        ),
        "that is the decoder twice: the encoder's last bias has 3 entries, not 784": (
            decoder,
            decoder,
        ),
        "one bias a layer is counted: there is one for each output of the layer": (
            [products[0] + 2, products[1] + 2]
        ),
        "the code's bias has 3 entries, not 100": (encoder + 97, decoder),
        "the code's bias is missing, 3 entries": (encoder - 3, decoder),
        "the decoder's last bias is missing, 784 entries": (encoder, decoder - 784),
        "the last bias of each is missing: 3 and 784 entries": (
            [product + 100 for product in products]
        ),
        "the hidden units' biases are missing, 100 in each": (
            encoder - 100,
            decoder - 100,
        ),
        "the input has no bias of its own": (encoder + 784, decoder),
        "neither the input nor the code has a bias of its own on the way in": (
            encoder + 784,
            decoder + 3,
        ),
        "that is without hidden layers: 784 to 3 and back": (
            784 * 3 + 3,
            3 * 784 + 784,
        ),
        "the layers to and from the code are missing: 100 to 3 and 3 to 100": (
            785 * 100,
            101 * 784,
        ),
        "that is the first layer of each alone: there are two": (785 * 100, 4 * 100),
        "that is the last layer of each alone: there are two": (101 * 3, 101 * 784),
        "that is the number of units: count the connections between them": (
            [sum(part) for part in widths]
        ),
        "that is the biases alone: the weights are missing": (
            encoder - products[0],
            decoder - products[1],
        ),
    }
    right = "a layer from a to b has (a + 1) b numbers, and each part has two layers"
    report(
        try_answer(lambda: answer),
        torch.tensor([encoder, decoder]).double(),
        {text: torch.tensor(value).double() for text, value in mistakes.items()},
        right,
        rtol=1e-7,
        rounded=0.0,
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
        "the mean is left out, or projected: subtract it first, and add it whole": (
            x @ onto
        ),
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
        "the mean of x is subtracted: wanted is the mean that is given": (
            mean + (x - own) @ onto
        ),
        "the mean of x is added: wanted is the mean that is given": own
        + centred @ onto,
        "x.mean() is one number for all pixels: wanted is the mean that is given": (
            x.mean() + (x - x.mean()) @ onto
        ),
        "x.mean() is subtracted, one number: wanted is the mean that is given": (
            mean + (x - x.mean()) @ onto
        ),
        "the mean is added where it is to be subtracted": mean + (x + mean) @ onto,
        "the mean is subtracted at the end where it is to be added": (
            centred @ onto - mean
        ),
        "the mean is subtracted at the end: subtract it first, and add it then": (
            x @ onto - mean
        ),
    }
    attempt = try_answer(answer, x, mean, directions)
    if isinstance(attempt, str) and "shapes cannot be multiplied" in attempt:
        attempt += (
            "; x is (N, D) and directions (D, q), so x @ directions fits, and the way "
            "back is @ directions.T"
        )
    elif isinstance(attempt, str) and "must match the size" in attempt:
        attempt += (
            "; (x - mean) @ directions are codes, (N, q): go back to D pixels first, "
            "with @ directions.T"
        )
    right = "subtract the mean, go to the code and back, add the mean"
    report(attempt, truth, mistakes, right)


def eckart_young_error(answer: Callable[[Tensor, int], float]) -> None:
    """The least squared error at width q, from eigenvalues (D,) in ascending order."""
    values = [0.12, 0.23, 0.41, 0.83, 1.1, 1.9, 3.4, 6.2]
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
        "these are the discarded ones: add them up": values[: count - q],
        "these are the kept ones: add up the discarded ones": values[count - q :],
        "eigh gives the smallest first: keep the last q, and add up the others": (
            values[q:]
        ),
        "as a share of the variance: wanted is the error itself": truth / values.sum(),
        "that is the share of the variance that is kept": kept / values.sum(),
    }
    # After the others, so that these keep their names.
    for i, value in enumerate(values):
        mistakes[f"that is one eigenvalue alone, entry {i}: add all discarded"] = value
    attempt = try_answer(answer, values, q)
    if isinstance(attempt, Tensor) and attempt.ndim == 1:
        attempt = attempt.sort().values  # in either order
    if isinstance(attempt, Tensor) and (attempt.numel() == 1):
        # As many as there are pixels: does a fixed 784 explain what went wrong?
        padded = torch.cat([values.new_zeros(784 - count), values])
        fixed = try_answer(answer, padded, q)
        if torch.isclose(attempt.reshape(()), values.sum()) and (
            isinstance(fixed, Tensor)
            and fixed.numel() == 1
            and torch.isclose(fixed.reshape(()), truth)
        ):
            attempt = "784 is fixed in it: use len(eigenvalues)"
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
        "eigvalsh is for symmetric matrices: take the singular values": (
            torch.linalg.eigvalsh(q_a.T @ q_b).clamp(-1, 1).acos()
        ),
        "only a went through qr: b needs it, too": (
            torch.linalg.svdvals(q_a.T @ b).clamp(max=1).acos()
        ),
        "only b went through qr: a needs it, too": (
            torch.linalg.svdvals(a.T @ q_b).clamp(max=1).acos()
        ),
    }
    attempt = try_answer(answer, a, b)
    if isinstance(attempt, str) and "linalg_qr" in attempt:
        attempt += "; torch.linalg.qr gives Q and R: take .Q"
    if isinstance(attempt, str) and "complex" in attempt:
        attempt += ": wanted are singular values, not eigenvalues"
    if isinstance(attempt, Tensor) and attempt.shape == truth.shape:
        attempt = attempt.sort().values  # any order will do
        if (attempt - truth).abs().max() < 5.1e-4:
            attempt = truth  # rounded to three decimals
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
    normal = torch.randn(2, 500, 2, generator=generator, dtype=torch.float64)
    # Four clumps, so that copies of the codes are no bell curve.
    codes = torch.tensor([3.0, -2.0]) + (normal[0].sign() + 0.2 * normal[1]) @ factor.T
    mean, covariance = codes.mean(0), codes.T.cov()  # (Z,), (Z, Z)
    cholesky = torch.linalg.cholesky(covariance)
    identity = torch.eye(2, dtype=torch.float64)
    own = covariance.diagonal().diag()  # what is left without the correlation
    one_mean, one_variance = codes.mean().expand(2), codes.var() * identity
    truth = _describe_cloud(mean, covariance)
    attempt = try_answer(answer, codes.float(), n)
    misfit = "cannot be multiplied", "must match the size"
    if isinstance(attempt, str) and any(text in attempt for text in misfit):
        attempt += (
            "; the noise must be (n, Z) with Z = codes.shape[1], which is 2 here and "
            "not Z_DIM, and noise @ L.T fits"
        )
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
        drawn, attempt = attempt, _describe_cloud(attempt.mean(0), attempt.T.cov())
        if torch.allclose(attempt, truth, rtol=0.04):
            attempt = _shape_of_cloud(drawn, codes) or attempt
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
        "rand - 0.5 is uniform: the noise must be normal, randn": (
            mean,
            covariance / 12,
        ),
        "the mean goes through L, too: add it after the product": (
            cholesky @ mean,
            covariance,
        ),
        "codes.mean() is one number for all latents: take codes.mean(0)": (
            one_mean,
            covariance,
        ),
        "codes.std() is one number for all latents, and knows no correlation: use L": (
            mean,
            one_variance,
        ),
        "codes.mean() and codes.std() are one number for all latents: each has its "
        "own": (one_mean, one_variance),
        "codes.mean() is one number for all latents, and the correlation is lost": (
            one_mean,
            own,
        ),
        "the covariance multiplies the noise, where its Cholesky factor should; and "
        "the mean is missing": (zero, covariance @ covariance.T),
        "the Cholesky factor L is the wrong way round, for rows noise @ L.T; and the "
        "mean is missing": (zero, cholesky.T @ cholesky),
        "codes.T @ codes / N is the covariance only once the mean is subtracted": (
            mean,
            covariance + torch.outer(mean, mean),
        ),
    }
    described = {text: _describe_cloud(*known) for text, known in mistakes.items()}
    right = "new codes with the mean, the spreads and the correlation of the data's"
    report(attempt, truth, described, right, rtol=0.04)


def _shape_of_cloud(drawn: Tensor, codes: Tensor) -> str | None:
    """What is wrong with draws (n, Z) whose mean and covariance are right, if any."""
    factor = torch.linalg.cholesky(codes.T.cov())
    white = torch.linalg.solve(factor, (drawn - codes.mean(0)).T)  # (Z, n)
    fourth = white.square().sum(0).square().mean()
    if abs(fourth / 8 - 1) < 0.1:  # E |w|^4 = Z (Z + 2) for N(0, I)
        return None
    generator = torch.Generator().manual_seed(0)
    eps = torch.randn(1000, 2, generator=generator, dtype=torch.float64)
    usual = torch.cdist(codes.mean(0) + eps @ factor.T, codes).amin(1).mean()
    near = torch.cdist(drawn[:1000], codes).amin(1).mean()
    if near < 0.6 * usual:
        return "these are codes of the data again, moved a little: draw new ones"
    return "mean and covariance are right, but it is no bell curve: draw with randn"


def _describe_cloud(mean: Tensor, covariance: Tensor) -> Tensor:
    """What tells two-dimensional clouds apart, (5,): mean, spreads, correlation."""
    spreads = covariance.diagonal().clamp(min=1e-9).sqrt()
    correlation = covariance[0, 1] / spreads.prod()
    # Moved away from 0, since differences are judged relative to size.
    return torch.cat([mean + 5, spreads, correlation[None] + 1]).double()
