"""The checks of notebook 01 know the right answers and each mistake by its name."""

import math

import pytest
import torch

from vaelib import checks

SIZE = [
    (158_387, "Right"),
    (158_387.0, "Right"),
    (
        sum((a + 1) * b for a, b in [(784, 100), (100, 3), (3, 100), (100, 784)]),
        "Right",
    ),
    (torch.tensor([158_387]), "Right"),
    (None, "Not attempted"),
    (..., "Not attempted"),
    (157_400, "biases are missing"),
    (78_803, "encoder alone: the decoder has"),
    (79_584, "decoder alone: the encoder has"),
    (78_700, "encoder alone, and its biases"),
    (157_606, "encoder twice"),
    (159_168, "decoder twice"),
    (157_404, "one bias a layer"),
    (5_491, "without hidden layers"),
    (1_771, "number of units"),
    (987, "the biases alone"),
    (78_500, "the first layer alone"),
    (79_184, "the last layer alone"),
    (158_388, "does not know"),
    ("158387", "without quotes"),
    (math.nan, "contains NaN"),
    ([1, 2], "the shape is"),
]


def rebuild(x, m, u):
    return m + (x - m) @ u @ u.T


PCA = [
    (rebuild, "Right"),
    (lambda x, m, u: m + ((x - m) @ u) @ u.T, "Right"),
    (lambda x, m, u: (x @ u) @ u.T + m - u @ (u.T @ m), "Right"),
    (lambda x, m, u: torch.stack([m + u @ (u.T @ (r - m)) for r in x]), "Right"),
    (lambda x, m, u: rebuild(x, m, u).tolist(), "Right"),
    (lambda x, m, u: None, "Not attempted"),
    (lambda x, m, u: ..., "Not attempted"),
    (lambda x, m, u: m + x @ u @ u.T, "was not subtracted before"),
    (lambda x, m, u: (x - m) @ u @ u.T, "but not added back"),
    (lambda x, m, u: x @ u @ u.T, "mean is left out"),
    (lambda x, m, u: x, "nothing was compressed"),
    (lambda x, m, u: m.repeat(len(x), 1), "the mean alone"),
    (lambda x, m, u: (x - m) @ u, "these are the codes"),
    (lambda x, m, u: x @ u, "mean was not subtracted"),
    (lambda x, m, u: rebuild(x, m, u[:, :1]), "only the first direction"),
    (lambda x, m, u: rebuild(x, m, u[:, 1:]), "only the last direction"),
    (lambda x, m, u: x - rebuild(x, m, u), "what is lost: wanted"),
    (lambda x, m, u: m + x - rebuild(x, m, u), "with the mean added"),
    (lambda x, m, u: rebuild(x, x.mean(0), u), "the mean of x is used"),
    (lambda x, m, u: m + (x + m) @ u @ u.T, "where it is to be subtracted"),
    (lambda x, m, u: (x - m) @ u @ u.T - m, "where it is to be added"),
    (lambda x, m, u: m + (x - m) @ u.T @ u, "so x @ directions fits"),
    (lambda x, m, u: 3 * x, "does not know"),
    (lambda x, m, u: x.nope, "stopped with AttributeError"),
    (lambda x, m, u: x.sub_(m).mul_(0), "does not know"),
]
ERROR = [
    (lambda v, q: v[: len(v) - q].sum(), "Right"),
    (lambda v, q: v.flip(0)[q:].sum().item(), "Right"),
    (lambda v, q: sum(sorted(v.tolist(), reverse=True)[q:]), "Right"),
    (lambda v, q: v.sum() - v.topk(q).values.sum(), "Right"),
    (lambda v, q: None, "Not attempted"),
    (lambda v, q: v[:-q].sum(), "q = 0 must give"),
    (lambda v, q: v[len(v) - q :].sum(), "the kept directions hold"),
    (lambda v, q: v[q:].sum(), "other way round"),
    (lambda v, q: v[:q].sum(), "the smallest q"),
    (lambda v, q: v[: len(v) - q + 1].sum(), "keeps q - 1"),
    (lambda v, q: v[: len(v) - q - 1].sum(), "keeps q + 1"),
    (lambda v, q: v[:-q].sum() / len(v), "number of pixels"),
    (lambda v, q: v[:-q].sum().sqrt(), "that is a root"),
    (lambda v, q: v[:-q].square().sum(), "squared already"),
    (lambda v, q: v[:-q].sqrt().sum(), "roots of variances"),
    (lambda v, q: v[:-q].mean(), "averaged over the discarded"),
    (lambda v, q: v.sum(), "all the variance"),
    (lambda v, q: v[len(v) - q - 1], "the largest discarded one"),
    (lambda v, q: v[:-q].sum() / v.sum(), "as a share"),
    (lambda v, q: v[-q:].sum() / v.sum(), "share of the variance that is kept"),
    (lambda v, q: 2 * v.sum(), "does not know"),
    (lambda v, q: v[:-q], "the shape is"),
    (lambda v, q: v[100], "stopped with IndexError"),
]


def q_of(a):
    return torch.linalg.qr(a).Q


def cosines(a, b):
    return torch.linalg.svdvals(q_of(a).T @ q_of(b))


def unit(a):
    return a / a.norm(dim=0)


def by_projectors(a, b):
    onto_a, onto_b = (m @ torch.linalg.pinv(m) for m in (a, b))
    return torch.linalg.eigvals(onto_a @ onto_b).real.topk(2).values.sqrt().acos()


ANGLES = [
    (lambda a, b: cosines(a, b).acos(), "Right"),
    (lambda a, b: cosines(a, b).clamp(max=1).acos().flip(0), "Right"),
    (lambda a, b: cosines(b, a).acos(), "Right"),
    (by_projectors, "Right"),
    (lambda a, b: None, "Not attempted"),
    (cosines, "these are cosines"),
    (lambda a, b: cosines(a, b).acos().rad2deg(), "in degrees"),
    (lambda a, b: cosines(a, b).asin(), "asin is taken"),
    (lambda a, b: cosines(a, b) ** 2, "these are the squares"),
    (lambda a, b: (cosines(a, b) ** 2).acos(), "acos of squared"),
    (lambda a, b: cosines(a, b).acos().sin(), "these are sines"),
    (lambda a, b: torch.linalg.svdvals(a.T @ b).acos(), "take Q of torch.linalg.qr"),
    (lambda a, b: torch.linalg.svdvals(a.T @ b).clamp(max=1).acos(), "not orthonormal"),
    (
        lambda a, b: torch.linalg.svdvals(unit(a).T @ unit(b)).clamp(max=1).acos(),
        "but not right angles",
    ),
    (lambda a, b: (unit(a) * unit(b)).sum(0).acos(), "column by column"),
    (lambda a, b: (q_of(a) * q_of(b)).sum(0).acos(), "columns of Q"),
    (lambda a, b: (q_of(a).T @ q_of(b)).acos(), "acos of the entries"),
    (lambda a, b: cosines(a, b).acos().max(), "the largest angle alone"),
    (lambda a, b: cosines(a, b).acos().min(), "the smallest angle alone"),
    (lambda a, b: cosines(a, b).acos().mean(), "mean of the angles"),
    (
        lambda a, b: torch.linalg.eigvals(q_of(a).T @ q_of(b)).real.acos(),
        "eigenvalues of",
    ),
    (lambda a, b: cosines(a, b) + 7, "does not know"),
    (lambda a, b: a, "the shape is"),
    (lambda a, b: a @ b, "stopped with RuntimeError"),
]


def draw(mean, factor, n, noise=None):
    noise = torch.randn(n, 2, dtype=torch.float64) if noise is None else noise
    return mean + noise @ factor.T


def cholesky(codes):
    return torch.linalg.cholesky(codes.T.cov())


def root(codes):
    values, vectors = torch.linalg.eigh(codes.T.cov())
    return vectors * values.sqrt() @ vectors.T


DRAWS = [
    (lambda c, n: draw(c.mean(0), cholesky(c), n), "Right"),
    (lambda c, n: draw(c.mean(0), root(c), n), "Right"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n).float(), "Right"),
    (
        lambda c, n: torch.distributions.MultivariateNormal(
            c.mean(0), c.T.cov()
        ).sample((n,)),
        "Right",
    ),
    (lambda c, n: draw(c.mean(0), torch.linalg.cholesky(c.T.cov(correction=0)), n),
     "Right"),
    (lambda c, n: None, "Not attempted"),
    (lambda c, n: torch.randn(n, 2), "from N(0, I)"),
    (lambda c, n: draw(c.mean(0), c.std(0).diag(), n), "correlation is lost"),
    (lambda c, n: draw(c.mean(0), c.T.cov(), n), "the covariance multiplies"),
    (lambda c, n: draw(c.mean(0), cholesky(c).T, n), "the wrong way round"),
    (lambda c, n: draw(0, cholesky(c), n), "the mean is missing"),
    (lambda c, n: draw(0, c.std(0).diag(), n), "mean and the correlation"),
    (lambda c, n: draw(c.mean(0), torch.eye(2).double(), n), "the spread is missing"),
    (lambda c, n: draw(c.mean(0), c.var(0).diag(), n), "the variances are used"),
    (lambda c, n: c.mean(0) + c.std(0) * torch.randn(n, 1), "one number is drawn"),
    (lambda c, n: draw(c.mean(0), c.T.cov().sqrt(), n), "roots of the covariance"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n, torch.rand(n, 2).double()),
     "uniform"),
    (lambda c, n: c.mean(0).repeat(n, 1), "every row is the mean"),
    (lambda c, n: draw(c.mean(0), cholesky(c), 1).repeat(n, 1),
     "all rows are one draw"),
    (lambda c, n: c[torch.randint(len(c), (n,))], "codes of the data again"),
    (lambda c, n: draw(c.mean(0), cholesky(c), 5), "wanted is (40000, 2)"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n).T, "the shape is"),
    (lambda c, n: draw(c.mean(0), 3 * cholesky(c), n), "does not know"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n) * math.nan, "NaN"),
    (lambda c, n: torch.randn(n, 2) @ cholesky(c), "stopped with RuntimeError"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "said"), SIZE)
def test_autoencoder_size(verdict, answer, said):
    assert said in verdict(checks.autoencoder_size, answer)


@pytest.mark.parametrize(("answer", "said"), PCA)
def test_pca_reconstruction(verdict, answer, said):
    assert said in verdict(checks.pca_reconstruction, answer)


@pytest.mark.parametrize(("answer", "said"), ERROR)
def test_eckart_young_error(verdict, answer, said):
    assert said in verdict(checks.eckart_young_error, answer)


@pytest.mark.parametrize(("answer", "said"), ANGLES)
def test_principal_angles(verdict, answer, said):
    assert said in verdict(checks.principal_angles, answer)


@pytest.mark.parametrize(("answer", "said"), DRAWS)
def test_fitted_draws(verdict, answer, said):
    torch.manual_seed(0)
    assert said in verdict(checks.fitted_draws, answer)
