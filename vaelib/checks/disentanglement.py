"""The exercises of notebook 06, disentanglement."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaelib.checks.verdict import ROUNDED, is_close, report, try_answer
from vaelib.objectives import LOG_2PI

NEAR = 5e-3  # so that what float32 makes of a 0 is known as that


def gap(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Information (Z, F) and entropy (F,), in nats, to each factor's gap, (F,)."""
    # As many latents as factors, so that a wrong axis is told by its numbers.
    information = torch.tensor(
        [
            [0.31, 0.90, 0.12, 0.05],
            [1.45, 0.22, 0.40, 0.63],
            [0.77, 0.08, 1.71, 0.17],
            [0.02, 0.52, 0.97, 0.38],
        ]
    )  # (Z, F)
    entropy = torch.tensor([2.1, 1.3, 2.9, 0.8])
    ascending = information.sort(0).values
    best, second, third = ascending.flip(0)[:3]
    truth = (best - second) / entropy
    of_latent = information.topk(2, dim=1).values  # (Z, 2)
    of_latent = of_latent[:, 0] - of_latent[:, 1]
    in_rows = information.sort(1, descending=True).values
    mistakes = {
        "still in nats: divide by each factor's entropy": best - second,
        "divide by the entropy, not by the best: a latent that knows little, and is "
        "alone with it, must not get 1": (best - second) / best,
        "take off the second best, not the average of all": (
            (best - information.mean(0)) / entropy
        ),
        "take off the second best, not the average of the others": (
            (best - (information.sum(0) - best) / 3) / entropy
        ),
        "take off the second best, not the sum of the others": (
            (2 * best - information.sum(0)) / entropy
        ),
        "take off the second best, not the worst": (best - ascending[0]) / entropy,
        "that is the third best: the second has number 1": (best - third) / entropy,
        "nothing is taken off: two latents that know the same would get full marks": (
            best / entropy
        ),
        "that is the second best alone: take it off the best": second / entropy,
        "along the wrong axis: for each factor, compare the latents (dim=0)": (
            of_latent / entropy
        ),
        "along the wrong axis, and not divided by the entropy": of_latent,
        "sorted along the factors: wanted is the order of the latents (dim=0)": (
            (in_rows[0] - in_rows[1]) / entropy
        ),
        "rows 0 and 1 are not the best two: sort each column first": (
            (information[0] - information[1]) / entropy
        ),
        "sort puts the smallest first: these are the worst two": (
            (ascending[1] - ascending[0]) / entropy
        ),
        "sort puts the smallest first, so these are the worst two, and negative": (
            (ascending[0] - ascending[1]) / entropy
        ),
        "the sign: best minus second best": -truth,
        "averaged too early: one gap a factor is wanted": truth.mean(),
        "summed: one gap a factor is wanted": truth.sum(),
        "divide by the factor's own entropy, not by that of all factors": (
            (best - second) / entropy.sum()
        ),
        "divide by the factor's own entropy, not by the average": (
            (best - second) / entropy.mean()
        ),
        "multiplied by the entropy: divide by it": (best - second) * entropy,
        "the entropy is in nats already: take no logarithm of it": (
            (best - second) / entropy.log()
        ),
        "divide by the entropy, not by log F": (best - second) / math.log(4),
        "both are in nats: turning only one of them into bits leaves a factor": (
            truth / math.log(2)
        ),
        "both are in nats: turning only the entropy into bits leaves a factor": (
            truth * math.log(2)
        ),
    }
    right = "best minus second best, as a share of the factor's entropy"
    report(try_answer(answer, information, entropy), truth, mistakes, right)


def gaussian_total_correlation(answer: Callable[[Tensor], float]) -> None:
    """A Gaussian's covariance (Z, Z) to its total correlation, in nats."""
    c = torch.tensor([[1.4, 0.6, -0.5], [0.6, 0.5, 0.1], [-0.5, 0.1, 2.3]])
    variances, log_det = c.diagonal(), c.logdet()
    logs, latents = variances.log().sum(), len(c)
    correlations = c / variances.outer(variances).sqrt()
    above = torch.triu_indices(latents, latents, 1).unbind()
    truth = 0.5 * (logs - log_det)
    mistakes = {
        "the sign: a total correlation is a KL, never negative": -truth,
        "the factor 1/2 is missing": 2 * truth,
        "the 1/2 belongs to log det C as well": 0.5 * logs - log_det,
        "C_jj is a variance, log C_jj twice log sigma_j: the 1/2 belongs to it too": (
            logs - 0.5 * log_det
        ),
        "use the variances C_jj themselves: here is their root": (
            0.5 * (0.5 * logs - log_det)
        ),
        "take the logarithm of det C": 0.5 * (logs - c.det()),
        "take the logarithm of each C_jj": 0.5 * (variances.sum() - log_det),
        "neither has its logarithm yet": 0.5 * (variances.sum() - c.det()),
        "these are volumes: take their logarithms": 0.5 * (variances.prod() - c.det()),
        "the ratio is right: its logarithm is still to be taken": (
            0.5 * variances.prod() / c.det()
        ),
        "a sum of logarithms, not the logarithm of the sum": (
            0.5 * (variances.sum().log() - log_det)
        ),
        "subtract log det C: its inverse has the other sign": 0.5 * (logs + log_det),
        "this is the KL to N(0, I): compare C with its own diagonal": (
            0.5 * (variances.sum() - latents - log_det)
        ),
        "the C_jj are missing: -log det / 2 is all only where they are 1": (
            -0.5 * log_det
        ),
        "log det C is missing: this is the product's part alone": 0.5 * logs,
        "nats want the natural logarithm, not that to base 2": truth / math.log(2),
        "nats want the natural logarithm, not that to base 10": truth / math.log(10),
        "that adds up the covariances: they have signs, and the unit of z squared": (
            c[above].sum()
        ),
        "that adds up all covariances, each twice: wanted are nats": (
            2 * c[above].sum()
        ),
        "that adds up the sizes of the covariances: wanted are nats": (
            c[above].abs().sum()
        ),
        "that adds up the correlations: wanted are nats": correlations[above].sum(),
        "that adds up the squared correlations: good for small ones, but no nats": (
            correlations[above].square().sum()
        ),
        "half the squared correlations: near it for small ones only, take log det": (
            0.5 * correlations[above].square().sum()
        ),
        "that is the information of each pair, summed: three latents share more, or "
        "share it only once": -0.5 * (1 - correlations[above].square()).log().sum(),
        "this is the entropy of the Gaussian: the total correlation is what it lacks "
        "to the sum of the latents' entropies": (
            0.5 * (latents * (1 + LOG_2PI) + log_det)
        ),
        "this is the sum of the latents' entropies: subtract that of all together": (
            0.5 * (latents * (1 + LOG_2PI) + logs)
        ),
        "the KL the wrong way round: wanted is KL(q(z) || product)": (
            0.5 * ((c.inverse().diagonal() * variances).sum() - latents) - truth
        ),
        "averaged over the latents: one number for all of them is wanted": (
            truth / latents
        ),
        "always 0: the product of the eigenvalues is det C. Use C's diagonal": (
            torch.tensor(0.0)
        ),
    }
    right = "the latents' own entropies minus that of all together, 0 for a diagonal C"
    report(try_answer(answer, c), truth, mistakes, right, rounded=NEAR)


def two_losses(answer: Callable[[float, float, float, float, float], tuple]) -> None:
    """log p(x|z), MI, TC, dimension-wise KL, beta to the beta-VAE's and -TCVAE's loss.

    The four are means over the data, in nats, the dimension-wise KL summed.
    """
    ll, mi, tc, dw, beta = -83.7, 7.3, 1.9, 5.2, 5.0
    kl = mi + tc + dw
    truth = torch.tensor([beta * kl - ll, mi + beta * tc + dw - ll])
    both = {
        "the two have changed places": truth.flip(0),
        "the signs: losses are what one minimises": -truth,
        "log p(x|z) is to be subtracted, in both": truth + 2 * ll,
        "log p(x|z) is missing in both": truth + ll,
        "beta belongs to the KL, not to log p(x|z) as well": torch.tensor(
            [beta * (kl - ll), beta * (kl - ll)]
        ),
    }
    beta_vae = {
        "log p(x|z) is to be subtracted": ll + beta * kl,
        "the sign: a loss is what one minimises": ll - beta * kl,
        "log p(x|z) is missing": beta * kl,
        "beta itself multiplies the KL: beta - 1 is what comes on top of the ELBO": (
            (beta - 1) * kl - ll
        ),
        "beta times the KL, in the place of the KL: here it comes on top": (
            (beta + 1) * kl - ll
        ),
        "beta is missing: this is minus the ELBO": kl - ll,
        "beta on the total correlation alone: that is the other loss": (
            truth[1].item()
        ),
        "beta on the mutual information alone: mind the parentheses": (
            beta * mi + tc + dw - ll
        ),
        "beta on the dimension-wise KL alone: all three parts are the KL": (
            mi + tc + beta * dw - ll
        ),
        "beta on two parts: the mutual information belongs to the KL too": (
            mi + beta * (tc + dw) - ll
        ),
        "beta on two parts: the total correlation belongs to the KL too": (
            tc + beta * (mi + dw) - ll
        ),
        "beta on two parts: the dimension-wise KL belongs to the KL too": (
            dw + beta * (mi + tc) - ll
        ),
        "the mutual information is left out: it is part of the KL": (
            beta * (tc + dw) - ll
        ),
        "the total correlation is left out: it is part of the KL": (
            beta * (mi + dw) - ll
        ),
        "the dimension-wise KL is left out: it is part of the KL": (
            beta * (mi + tc) - ll
        ),
        "beta went to log p(x|z), which makes the KL the weaker one": kl - beta * ll,
        "beta belongs to the KL, not to log p(x|z) as well": beta * (kl - ll),
        "the KL is a cost: add it": -beta * kl - ll,
        "the KL is divided by beta: multiply": kl / beta - ll,
    }
    beta_tcvae = {
        "log p(x|z) is to be subtracted": mi + beta * tc + dw + ll,
        "the sign: a loss is what one minimises": -truth[1].item(),
        "log p(x|z) is missing": mi + beta * tc + dw,
        "beta - 1 would be right beside the whole KL: in its parts it is beta": (
            mi + (beta - 1) * tc + dw - ll
        ),
        "the total correlation is in the KL already: only beta - 1 of it on top": (
            kl + beta * tc - ll
        ),
        "beta is missing: this is minus the ELBO": kl - ll,
        "beta on all three parts: that is the other loss": truth[0].item(),
        "beta on everything: it belongs to the total correlation alone": (
            beta * (kl - ll)
        ),
        "beta on the mutual information: it is the part one wants to spare": (
            beta * mi + tc + dw - ll
        ),
        "beta on the dimension-wise KL: it belongs to the total correlation": (
            mi + tc + beta * dw - ll
        ),
        "beta on two parts: the mutual information is to be spared": (
            beta * (mi + tc) + dw - ll
        ),
        "beta on two parts: the dimension-wise KL counts once": (
            mi + beta * (tc + dw) - ll
        ),
        "beta on all but the total correlation: it is the other way round": (
            beta * (mi + dw) + tc - ll
        ),
        "the mutual information is left out: a known variant (alpha = 0), but asked "
        "is alpha = 1, and so it counts once": beta * tc + dw - ll,
        "the mutual information is rewarded here: at alpha = 1 it costs once": (
            -mi + beta * tc + dw - ll
        ),
        "the dimension-wise KL is left out: without it nothing holds q(z) to the "
        "prior": mi + beta * tc - ll,
        "the total correlation is left out: it is what beta is for": mi + dw - ll,
        "mutual information and dimension-wise KL are left out": beta * tc - ll,
        "the total correlation is a cost: add it": mi - beta * tc + dw - ll,
        "the total correlation is divided by beta: multiply": mi + tc / beta + dw - ll,
    }
    right = "beta on the whole KL, and beta on the total correlation alone"
    attempt = try_answer(lambda *given: _present(answer(*given)), ll, mi, tc, dw, beta)
    if isinstance(attempt, Tensor) and attempt.numel() == 2:
        attempt = attempt.reshape(2)
    if isinstance(attempt, Tensor) and attempt.shape != (2,):
        attempt = "return two numbers: the beta-VAE's loss and the beta-TCVAE's"
    of_both = any(is_close(attempt, other, ROUNDED) for other in both.values())
    if not isinstance(attempt, Tensor) or is_close(attempt, truth) or of_both:
        report(attempt, truth, both, right)
        return
    i = 1 if is_close(attempt[0], truth[0]) else 0
    name, mistakes = (("beta-VAE", beta_vae), ("beta-TCVAE", beta_tcvae))[i]
    mistakes = {
        f"the {name}'s loss: {text}": torch.tensor(value)
        for text, value in mistakes.items()
    }
    if not any(is_close(attempt[i], other, ROUNDED) for other in mistakes.values()):
        print(
            f"Not yet: the {name}'s loss is wrong, in a way this check does not know."
        )
        return
    report(attempt[i], truth[i], mistakes, right)


def _present(pair):
    """A pair without what is still missing of it; other answers as they are."""
    if isinstance(pair, tuple | list):
        return [part for part in pair if part is not None and part is not ...] or None
    return pair


def lost_nats(answer: Callable[[Tensor, Tensor], float]) -> None:
    """Sigma (Z,) and rotation Q (Z, Z) to KL(N(., S) || N(., the diagonal of S)).

    S = Q diag(sigma^2) Q^T is the covariance of z' = Q z.
    """
    # Turned so that Q sigma^2, a mistake, has a logarithm.
    sigma, r = torch.tensor([0.4, 1.3, 0.7]), _rotation(-0.5, 0.8, -0.9)
    latents = len(sigma)
    logs, turned = sigma.log().sum(), r.square() @ sigma.square()
    s = r * sigma.square() @ r.T
    precisions = r.square() @ sigma.pow(-2)
    truth = 0.5 * turned.log().sum() - logs
    mistakes = {
        "Q is turned the other way: sum over the columns j of row i": (
            0.5 * (r.T.square() @ sigma.square()).log().sum() - logs
        ),
        "square Q too: variances are turned by Q_ij squared": (
            0.5 * (r @ sigma.square()).log().sum() - logs
        ),
        "variances add, not sigmas: square sigma inside the sum": (
            0.5 * (r.square() @ sigma).log().sum() - logs
        ),
        "sigma is used as if it were the variance, in both places": (
            0.5 * (r.square() @ sigma).log().sum() - 0.5 * logs
        ),
        "sigma is no arrow to be turned: turn the variances, by Q_ij squared": (
            (r @ sigma).abs().log().sum() - logs
        ),
        "the factor 1/2 is missing": 2 * truth,
        "log sigma'^2 is 2 log sigma': its 1/2 is missing": turned.log().sum() - logs,
        "no 1/2 before log sigma: it is half of log sigma^2 already": (
            0.5 * turned.log().sum() - 0.5 * logs
        ),
        "log sigma^2 is 2 log sigma, and the 1/2 belongs to it too": (
            0.5 * turned.log().sum() - 2 * logs
        ),
        "the sign: a KL is never negative": -truth,
        "the sign of sum log sigma: subtract it": truth + 2 * logs,
        "a sum of logarithms, not the logarithm of the sum": (
            0.5 * turned.sum().log() - logs
        ),
        "sum log sigma, which is half of log det S, is missing": truth + logs,
        "this is half of log det S alone: compare it with the diagonal": logs,
        "that is half of log det S, and the sign": -logs,
        "the logarithms are missing": 0.5 * turned.sum() - sigma.sum(),
        "one number is wanted: sum over the latents": 0.5 * turned.log() - sigma.log(),
        "averaged over the latents: sum": truth / latents,
        "nats want the natural logarithm, not that to base 2": truth / math.log(2),
        "nats want the natural logarithm, not that to base 10": truth / math.log(10),
        "a rotation leaves det S alone, but not the diagonal of S, and that is what "
        "the product keeps": torch.tensor(0.0),
        "the KL the wrong way round: wanted is KL(turned || diagonal)": (
            0.5 * ((precisions * turned).sum() - latents) - truth
        ),
        "that is the diagonal Gaussian with the smallest KL(diagonal || turned): "
        "asked is the one that keeps the variances": (
            0.5 * precisions.log().sum() + logs
        ),
        "that is the KL between the two lists of variances: the covariances of z' "
        "are missing": (truth + 0.5 * ((sigma.square() / turned).sum() - latents)),
        "this is the KL to N(0, I): compare S with its own diagonal": (
            0.5 * (sigma.square().sum() - latents) - logs
        ),
        "that adds up covariances: wanted are nats": s.triu(1).sum(),
        "that adds up the sizes of covariances: wanted are nats": s.triu(1).abs().sum(),
    }
    right = "the total correlation of the turned posterior, 0 for equal sigmas"
    report(try_answer(answer, sigma, r), truth, mistakes, right, rounded=NEAR)


def _rotation(a: float, b: float, c: float) -> Tensor:
    """Three turns by these angles, in the planes (0, 1), (1, 2) and (0, 2): (3, 3)."""
    turn = torch.eye(3)
    for (i, j), angle in zip(((0, 1), (1, 2), (0, 2)), (a, b, c), strict=True):
        step = torch.eye(3)
        step[i, i] = step[j, j] = math.cos(angle)
        step[i, j], step[j, i] = -math.sin(angle), math.sin(angle)
        turn = step @ turn
    return turn


def break_even_beta(answer: float) -> None:
    """The beta at which D + beta R is equal for rates 4, 6.5, distortions 177, 171."""
    rate_a, distortion_a, rate_b, distortion_b = 4.0, 177.0, 6.5, 171.0
    fewer, more = distortion_a - distortion_b, rate_b - rate_a
    elbo_gap = fewer - more
    mistakes = {
        "upside down: beta is nats of distortion for a nat of rate": more / fewer,
        "the sign: B has more rate and less distortion, so beta is positive": -fewer
        / more,
        "upside down, and the sign": -more / fewer,
        "differences, not sums: at which beta do the two losses cross?": (
            (distortion_a + distortion_b) / (rate_a + rate_b)
        ),
        "the rates are to be subtracted": fewer / (rate_a + rate_b),
        "the distortions are to be subtracted": (distortion_a + distortion_b) / more,
        "that is how far apart the ELBOs are: beta need not be 1": elbo_gap,
        "that is how far apart the ELBOs are, and beta need not be 1": -elbo_gap,
        "that is beta - 1: what the KL weighs beyond the ELBO": elbo_gap / more,
        "that is one too many: beta stands before the whole rate": fewer / more + 1,
        "that is the difference of the distortions: divide it by that of the rates": (
            fewer
        ),
        "that is the difference of the rates: divide that of the distortions by it": (
            more
        ),
        "divide, do not multiply: beta times the rates' difference is the "
        "distortions'": fewer * more,
        "that is D / R of A alone: compare the two": distortion_a / rate_a,
        "that is D / R of B alone: compare the two": distortion_b / rate_b,
        "that is the ratio of the rates: subtract": rate_b / rate_a,
        "that is the ratio of the rates, upside down: subtract": rate_a / rate_b,
        "that is the ratio of the distortions: subtract": distortion_a / distortion_b,
        "that is the ratio of the distortions, upside down: subtract": (
            distortion_b / distortion_a
        ),
        "that is the ratio of the two ELBOs: beta need not be 1": (
            (distortion_a + rate_a) / (distortion_b + rate_b)
        ),
        "at beta = 1 the losses are 181 and 177.5, not yet equal": 1,
        "at beta = 0 only the distortions count, and they differ by 6": 0,
    }
    report(
        try_answer(lambda: answer),
        torch.tensor(fewer / more),
        {text: torch.tensor(float(value)) for text, value in mistakes.items()},
        "below 2.4 the loss is smaller for B, above it for A",
    )
