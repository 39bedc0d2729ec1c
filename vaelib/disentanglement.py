"""Objectives that ask for independent latents, and measures of what came of it.

Everywhere: codes (N, Z), one drawn z for each example; factors, what the examples were
made of: a dict of names to (N,), floats for a continuous one, integers for categories.
"""

import math
from typing import NamedTuple

import torch
from sklearn.ensemble import RandomForestRegressor
from torch import Tensor

from vaelib.data import check_batch
from vaelib.objectives import (
    LOG_2PI,
    check_samples,
    elbo,
    gaussian_kl,
    gaussian_log_likelihood,
    sample_gaussian,
)

Factors = dict[str, Tensor]
TREES, LEAF = 10, 10  # of a random forest: its trees, and the fewest examples in a leaf
CHUNK = 2**22  # numbers held at a time when every z meets every q(z|x)


# Objectives: functions of (model, x, generator) for `vaelib.training.fit`


def _check_beta(beta: float) -> None:
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta must be a number of at least 0 but is {beta!r}")


def beta_vae_loss(beta: float):
    """The loss -log p(x|z) + beta KL(q(z|x) || p(z)); beta = 1 is minus the ELBO.

    Raises ValueError for a negative beta. (Higgins et al. 2017)
    """
    _check_beta(beta)

    def loss(model, x, generator=None):
        parts = elbo(model, x, generator=generator)
        return beta * parts.kl - parts.log_likelihood

    return loss


def beta_tcvae_loss(beta: float, examples: int):
    """Minus the ELBO, plus beta - 1 times the total correlation of the latents.

    examples: how many there are in all, N, of which a batch shows some. The total
    correlation is estimated from the batch by `minibatch_log_q`, whose logarithms are
    biased: a lower bound on average for each density, of any sign for their difference.
    Raises ValueError for a negative beta or fewer than two examples.
    (Chen et al. 2018, whose alpha and gamma are 1 here)
    """
    _check_beta(beta)
    if examples < 2:
        raise ValueError(f"examples is {examples} but must be at least 2")

    def loss(model, x, generator=None):
        mu, sigma = model.encode(x)
        z = sample_gaussian(mu, sigma, generator)
        joint, each = minibatch_log_q(z, mu, sigma, examples)
        excess = (beta - 1) * (joint - each.sum(-1))
        return gaussian_kl(mu, sigma) - model.log_likelihood(x, z) + excess

    return loss


def _log_densities(z: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """log N(z_kj; mu_nj, sigma_nj^2) of all z (K, Z) under all q(z|x_n): (K, N, Z)."""
    deviation = (z.unsqueeze(1) - mu) / sigma
    return -0.5 * (deviation.square() + LOG_2PI) - sigma.log()


def minibatch_log_q(
    z: Tensor, mu: Tensor, sigma: Tensor, examples: int
) -> tuple[Tensor, Tensor]:
    """Estimates of log q(z), (B,), and of log q(z_j), (B, Z), from a batch of codes.

    z, mu, sigma (B, Z), with z_b drawn from q(z|x_b); q(z) is the mean of q(z|x) over
    all N = `examples`. Each z's own example counts 1/N, as it does in q(z), and the
    other B - 1 stand for the N - 1 that are left. Before the logarithm the estimate is
    unbiased. Raises ValueError for B < 2 or N < B.
    (After Chen et al. 2018, appendix C.2, whose stratified sampling gives one of the
    others another weight, with the same mean)
    """
    batch = len(z)
    if not 2 <= batch <= examples:
        raise ValueError(
            f"examples is {examples} and the batch {batch}: both must be at least 2, "
            "and examples, the size of the whole training set, no smaller than a batch"
        )
    others = math.log((examples - 1) / examples / (batch - 1))
    own = torch.eye(batch, dtype=torch.bool, device=z.device)
    log_weight = torch.full_like(own, others, dtype=z.dtype)
    log_weight = log_weight.masked_fill(own, -math.log(examples))  # (B, B)
    log_q = _log_densities(z, mu, sigma)  # (B, B, Z)
    joint = (log_q.sum(-1) + log_weight).logsumexp(1)
    return joint, (log_q + log_weight.unsqueeze(-1)).logsumexp(1)


# The mean KL in three parts


class KlParts(NamedTuple):
    """Three parts of the mean KL, of K drawn codes each, in nats.

    index_code_mi (K,): what z tells about which example it came from; total_correlation
    (K,): how far the latents are from independent; dimension_wise_kl (K, Z): how far
    each latent, over all examples, is from the prior. Their means are the estimates,
    their .std() / sqrt(K) the standard errors.
    """

    index_code_mi: Tensor
    total_correlation: Tensor
    dimension_wise_kl: Tensor


def kl_parts(mu: Tensor, sigma: Tensor, samples: int = 1000, generator=None) -> KlParts:
    """Split the mean KL(q(z|x) || p(z)) of the examples given by mu, sigma (N, Z).

    Draws `samples` codes from q(z) = (1/N) sum_n q(z|x_n) and evaluates q(z) and each
    q(z_j) exactly, over all N. No index can carry more than log N nats: if the mutual
    information comes near that, the N examples are too few to know q(z) of the source
    they came from, and the total correlation is far too large for it.
    Raises ValueError for mu and sigma that do not fit or samples < 1.
    (Hoffman and Johnson 2016; Chen et al. 2018, equation 2)
    """
    check_batch(mu, "mu")
    check_samples(samples)
    examples = len(mu)
    gaussian_kl(mu, sigma)  # checks that the two fit, and sigma > 0
    index = torch.randint(examples, (samples,), generator=generator, device=mu.device)
    z = sample_gaussian(mu[index], sigma[index], generator)  # (K, Z)
    joint, each = [], []
    for some in z.split(max(1, CHUNK // mu.numel())):
        log_q = _log_densities(some, mu, sigma)  # (k, N, Z)
        joint.append(log_q.sum(-1).logsumexp(1) - math.log(examples))
        each.append(log_q.logsumexp(1) - math.log(examples))
    joint, each = torch.cat(joint), torch.cat(each)  # (K,), (K, Z)
    conditional = gaussian_log_likelihood(z, mu[index], sigma[index])
    prior = -0.5 * (z.square() + LOG_2PI)  # (K, Z)
    return KlParts(conditional - joint, joint - each.sum(-1), each - prior)


# Measures against known factors


def _check_measured(codes: Tensor, factors: Factors) -> None:
    check_batch(codes, "codes")
    if not factors:
        raise ValueError("factors is empty: give a dict of names to (N,) tensors")
    for name, values in factors.items():
        if tuple(getattr(values, "shape", ())) != codes.shape[:1]:
            raise ValueError(
                f"factor {name!r} has shape {tuple(getattr(values, 'shape', ()))} but "
                f"there are {len(codes)} codes: one number for each is wanted"
            )
        if (values == values[0]).all():
            raise ValueError(f"factor {name!r} never varies: nothing can be measured")


def _classes(values: Tensor, bins: int) -> Tensor:
    """Categories as they are; numbers in `bins` of equally many, ties in the same."""
    if not values.is_floating_point():
        return values.unique(return_inverse=True)[1]
    smaller = torch.searchsorted(values.sort().values, values.contiguous())  # (N,)
    return smaller * bins // len(values)


def _entropy(counts: Tensor) -> Tensor:
    return torch.special.entr(counts.double() / counts.sum()).sum()


def entropies(factors: Factors, bins: int = 20) -> Tensor:
    """The entropy of each factor, (F,), in nats, numbers sorted into `bins`."""
    return torch.stack(
        [_entropy(_classes(values, bins).bincount()) for values in factors.values()]
    )


def mutual_information(codes: Tensor, factors: Factors, bins: int = 20) -> Tensor:
    """I(z_j; v_k) of each latent and factor, (Z, F), in nats, from a table of counts.

    codes (N, Z); both sides are sorted into `bins` of equally many examples, categories
    kept. Counting few examples sees information where none is: about bins^2 / 2N nats.
    Raises ValueError for factors that do not fit the codes or never vary.
    (Cover and Thomas 2006, section 2.3; the bias: Miller 1955)
    """
    _check_measured(codes, factors)
    classes = [_classes(values, bins) for values in factors.values()]
    alone, rows = entropies(factors, bins), []  # (F,)
    for latent in codes.unbind(1):
        a = _classes(latent, bins)
        pairs = [a * (b.max() + 1) + b for b in classes]
        joint = torch.stack([_entropy(pair.bincount()) for pair in pairs])  # (F,)
        rows.append(_entropy(a.bincount()) + alone - joint)
    return torch.stack(rows).clamp(min=0)


def mutual_information_gap(codes: Tensor, factors: Factors, bins: int = 20) -> Tensor:
    """For each factor, how far the best latent is ahead of the second, (F,), in [0, 1].

    The difference of their mutual information with it, as a share of its entropy: 1 if
    one latent knows it all and no other anything. The MIG is the mean over factors.
    Raises ValueError as `mutual_information` does, and for fewer than two latents.
    (Chen et al. 2018, section 4)
    """
    information = mutual_information(codes, factors, bins)
    if len(information) < 2:
        raise ValueError("a gap needs two latents: there is no second best of one")
    best = information.topk(2, dim=0).values  # (2, F)
    return (best[0] - best[1]) / entropies(factors, bins)


class Dci(NamedTuple):
    """What `dci` found: importance (Z, F), columns that add up to 1, and three scores.

    disentanglement: whether each latent matters for one factor only, averaged with the
    latents' importance as weights. completeness: whether one latent is enough for each
    factor, averaged. informativeness (F,): the share of each factor's variance that the
    forest explains on new examples.
    """

    importance: Tensor
    disentanglement: float
    completeness: float
    informativeness: Tensor


def _concentration(shares: Tensor) -> Tensor:
    """1 for each row (..., n) with all in one place, 0 for one evenly spread."""
    total = shares.sum(-1, keepdim=True).clamp(min=1e-12)
    entropy = torch.special.entr(shares / total).sum(-1)
    return 1 - entropy / math.log(shares.shape[-1])


def _targets(values: Tensor) -> Tensor:
    """Numbers as (N, 1); categories as one column of 0 and 1 for each, (N, C)."""
    if values.is_floating_point():
        return values.unsqueeze(1)
    return torch.nn.functional.one_hot(_classes(values, 0)).float()


def _check_new(known: Factors, new: Factors) -> None:
    for name, values in known.items():
        if name not in new:
            raise ValueError(f"the new factors lack {name!r}")
        if values.is_floating_point():
            continue
        if not torch.equal(values.unique(), new[name].unique()):
            raise ValueError(f"the new {name!r} has other categories than the known")


def dci(
    known_codes: Tensor,
    known_factors: Factors,
    new_codes: Tensor,
    new_factors: Factors,
    seed: int = 0,
) -> Dci:
    """Disentanglement, completeness and informativeness, by random forests.

    A forest learns each factor from the known codes (N, Z); a latent's importance is
    its share of the variance that the forest's splits take away. Informativeness is
    measured on the new codes (M, Z), with every category among them.
    Raises ValueError for factors that do not fit, or fewer than two latents or factors.
    (Eastwood and Williams 2018)
    """
    _check_measured(known_codes, known_factors)
    _check_measured(new_codes, new_factors)
    _check_new(known_factors, new_factors)
    if known_codes.shape[1] < 2 or len(known_factors) < 2:
        raise ValueError("dci compares latents and factors: give at least two of each")
    columns, informativeness = [], []
    for name in known_factors:
        forest = RandomForestRegressor(
            TREES, min_samples_leaf=LEAF, max_samples=0.5, random_state=seed
        )
        forest.fit(known_codes.numpy(), _targets(known_factors[name]).numpy().squeeze())
        columns.append(torch.from_numpy(forest.feature_importances_))
        truth = _targets(new_factors[name])
        guess = torch.from_numpy(forest.predict(new_codes.numpy())).view(truth.shape)
        error = (guess - truth).square().sum() / (truth - truth.mean(0)).square().sum()
        informativeness.append(1 - error)
    importance = torch.stack(columns, 1)  # (Z, F)
    weight = importance.sum(1) / importance.sum()
    return Dci(
        importance,
        (weight * _concentration(importance)).sum().item(),
        _concentration(importance.T).mean().item(),
        torch.stack(informativeness).float(),
    )


def majority_vote(variances: Tensor, fixed: Tensor) -> tuple[float, Tensor]:
    """The score of Kim and Mnih, in [0, 1], and its table of votes (Z, F).

    One factor is held fixed in each of G groups of examples; variances (G, Z) are those
    of each latent within a group, as a share of its variance over all examples; fixed
    (G,) is the factor's number. Each group votes with its calmest latent; each latent
    stands for the factor with most of its votes; the score is the share of groups that
    are then right. Even noise gets the share of the commonest factor, and more with few
    groups. Leave out latents that never vary. Raises ValueError for shapes that do not
    fit. (Kim and Mnih 2018)
    """
    check_batch(variances, "variances")
    if fixed.shape != variances.shape[:1]:
        raise ValueError(
            f"fixed has shape {tuple(fixed.shape)} but there are {len(variances)} "
            "groups: one number for each is wanted"
        )
    latents, factors = variances.shape[1], int(fixed.max()) + 1
    pairs = variances.argmin(1) * factors + fixed
    votes = pairs.bincount(minlength=latents * factors).view(latents, factors)
    return (votes.amax(1).sum() / votes.sum()).item(), votes
