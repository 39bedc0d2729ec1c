"""The checks of notebook 01 know the right answers and each mistake by its name."""

import math

import pytest
import torch

from vaelib import checks

SIZE = [
    ((78_803, 79_584), "Right"),
    ([78_803.0, 79_584.0], "Right"),
    (torch.tensor([78_803, 79_584]), "Right"),
    (
        tuple(a * b + b + b * c + c for a, b, c in [(784, 100, 3), (3, 100, 784)]),
        "Right",
    ),
    (None, "Not attempted"),
    (..., "Not attempted"),
    (158_387, "both together: give two numbers"),
    (157_400, "both together, and the biases"),
    (78_803, "encoder alone: the decoder has"),
    (79_584, "decoder alone: the encoder has"),
    ((78_700, 78_700), "biases are missing: each layer"),
    ((79_584, 78_803), "of its *outputs*, not of its inputs"),
    ((78_803, 78_803), "encoder twice"),
    ((79_584, 79_584), "decoder twice"),
    ((78_702, 78_702), "one bias a layer"),
    ((78_900, 79_584), "3 entries, not 100"),
    ((78_800, 79_584), "the code's bias is missing"),
    ((78_803, 78_800), "the decoder's last bias is missing"),
    ((78_800, 78_800), "the last bias of each"),
    ((78_703, 79_484), "the hidden units' biases"),
    ((79_587, 79_584), "the input has no bias"),
    ((79_587, 79_587), "neither the input nor the code"),
    ((2_355, 3_136), "without hidden layers"),
    ((78_500, 79_184), "layers to and from the code"),
    ((78_500, 400), "the first layer of each"),
    ((303, 79_184), "the last layer of each"),
    ((887, 887), "number of units"),
    ((103, 884), "the biases alone"),
    ((78_803, 79_585), "does not know"),
    ((78_804, 79_584), "does not know"),
    ("78803", "without quotes"),
    ((math.nan, 1), "contains NaN"),
    ([1, 2, 3], "the shape is"),
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
    (lambda x, m, u: x @ u @ u.T, "left out, or projected"),
    (lambda x, m, u: m @ u @ u.T + (x - m) @ u @ u.T, "left out, or projected"),
    (lambda x, m, u: x, "nothing was compressed"),
    (lambda x, m, u: m.repeat(len(x), 1), "the mean alone"),
    (lambda x, m, u: (x - m) @ u, "these are the codes"),
    (lambda x, m, u: x @ u, "mean was not subtracted"),
    (lambda x, m, u: rebuild(x, m, u[:, :1]), "only the first direction"),
    (lambda x, m, u: rebuild(x, m, u[:, 1:]), "only the last direction"),
    (lambda x, m, u: x - rebuild(x, m, u), "what is lost: wanted"),
    (lambda x, m, u: m + x - rebuild(x, m, u), "with the mean added"),
    (lambda x, m, u: rebuild(x, x.mean(0), u), "the mean of x is used"),
    (lambda x, m, u: m + (x - x.mean(0)) @ u @ u.T, "the mean of x is subtracted"),
    (lambda x, m, u: x.mean(0) + (x - m) @ u @ u.T, "the mean of x is added"),
    (lambda x, m, u: rebuild(x, x.mean(), u), "x.mean() is one number"),
    (lambda x, m, u: m + (x - x.mean()) @ u @ u.T, "x.mean() is subtracted"),
    (lambda x, m, u: x @ u @ u.T - m, "at the end: subtract it first"),
    (lambda x, m, u: m + (x - m) @ u, "are codes, (N, q): go back"),
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
    (lambda v, q: v[: 784 - q].sum(), "784 is fixed"),
    (lambda v, q: v[q], "one eigenvalue alone"),
    (lambda v, q: v[-q], "one eigenvalue alone"),
    (lambda v, q: v[0], "one eigenvalue alone"),
    (lambda v, q: v[:-q], "these are the discarded ones"),
    (lambda v, q: v.flip(0)[q:], "these are the discarded ones"),
    (lambda v, q: v[-q:], "these are the kept ones"),
    (lambda v, q: v.flip(0)[:q], "these are the kept ones"),
    (lambda v, q: v[q:], "keep the last q, and add up"),
    (lambda v, q: v[1:3], "the shape is"),
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
    (lambda a, b: (cosines(a, b).acos() * 1000).round() / 1000, "Right"),
    (
        lambda a, b: ((cosines(a, b).acos().rad2deg() * 1e3).round() / 1e3).deg2rad(),
        "Right",
    ),
    (
        lambda a, b: torch.linalg.eigvalsh(q_of(a).T @ q_of(b)).acos(),
        "eigvalsh is for symmetric",
    ),
    (
        lambda a, b: torch.linalg.svdvals(q_of(a).T @ b).clamp(max=1).acos(),
        "only a went",
    ),
    (
        lambda a, b: torch.linalg.svdvals(a.T @ q_of(b)).clamp(max=1).acos(),
        "only b went",
    ),
    (lambda a, b: torch.linalg.qr(a).T @ torch.linalg.qr(b), "take .Q"),
    (lambda a, b: torch.linalg.qr(a) @ torch.linalg.qr(b), "take .Q"),
    (
        lambda a, b: torch.linalg.eigvals(q_of(a).T @ q_of(b)).acos(),
        "singular values, not eigenvalues",
    ),
    (lambda a, b: cosines(a, b) + 7, "does not know"),
    (lambda a, b: a, "the shape is"),
    (lambda a, b: a @ b, "stopped with RuntimeError"),
]


def draw(mean, factor, n, noise=None):
    noise = torch.randn(n, 2) if noise is None else noise
    return mean + noise @ factor.T


def cholesky(codes):
    return torch.linalg.cholesky(codes.T.cov())


def root(codes):
    values, vectors = torch.linalg.eigh(codes.T.cov())
    return vectors * values.sqrt() @ vectors.T


def by_hand(codes, mean):
    return (codes - mean).T @ (codes - mean) / len(codes)


def wide(n):
    """Uniform noise of mean 0 and variance 1."""
    return (torch.rand(n, 2) - 0.5) * math.sqrt(12)


def again(codes, n, noise):
    return codes[torch.randint(len(codes), (n,))] + noise * torch.randn(n, 2)


DRAWS = [
    (lambda c, n: draw(c.mean(0), cholesky(c), n), "Right"),
    (lambda c, n: draw(c.mean(0), root(c), n), "Right"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n).double(), "Right"),
    (
        lambda c, n: torch.distributions.MultivariateNormal(
            c.mean(0), c.T.cov()
        ).sample((n,)),
        "Right",
    ),
    (lambda c, n: draw(c.mean(0), torch.linalg.cholesky(c.T.cov(correction=0)), n),
     "Right"),
    (lambda c, n: c.mean(0) + torch.randn(n, c.shape[1]) @ cholesky(c).T, "Right"),
    (lambda c, n: draw(c.mean(0), torch.linalg.cholesky(by_hand(c, c.mean(0))), n),
     "Right"),
    (lambda c, n: None, "Not attempted"),
    (lambda c, n: torch.randn(n, 2), "from N(0, I)"),
    (lambda c, n: draw(c.mean(0), c.std(0).diag(), n), "correlation is lost"),
    (lambda c, n: draw(c.mean(0), c.T.cov(), n), "the covariance multiplies"),
    (lambda c, n: draw(c.mean(0), cholesky(c).T, n), "the wrong way round"),
    (lambda c, n: draw(0, cholesky(c), n), "the mean is missing"),
    (lambda c, n: draw(0, c.std(0).diag(), n), "mean and the correlation"),
    (lambda c, n: draw(c.mean(0), torch.eye(2), n), "the spread is missing"),
    (lambda c, n: draw(c.mean(0), c.var(0).diag(), n), "the variances are used"),
    (lambda c, n: c.mean(0) + c.std(0) * torch.randn(n, 1), "one number is drawn"),
    (lambda c, n: draw(c.mean(0), c.T.cov().sqrt(), n), "roots of the covariance"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n, torch.rand(n, 2)),
     "rand is uniform"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n, torch.rand(n, 2) - 0.5),
     "rand - 0.5 is uniform"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n, wide(n)), "no bell curve"),
    (lambda c, n: draw(c.mean(0), root(c), n, wide(n)), "no bell curve"),
    (lambda c, n: again(c, n, 1e-6), "moved a little"),
    (lambda c, n: again(c, n, 0.1), "moved a little"),
    (lambda c, n: again(c, n, 0.3), "moved a little"),
    (lambda c, n: (c.mean(0) + torch.randn(n, 2)) @ cholesky(c).T,
     "the mean goes through L"),
    (lambda c, n: draw(c.mean(), cholesky(c), n), "take codes.mean(0)"),
    (lambda c, n: draw(c.mean(0), c.std() * torch.eye(2), n), "codes.std() is one"),
    (lambda c, n: c.mean() + c.std() * torch.randn(n, 2), "codes.mean() and codes.std"),
    (lambda c, n: draw(c.mean(), c.std(0).diag(), n), "and the correlation is lost"),
    (lambda c, n: draw(0, c.T.cov(), n), "should; and the mean is missing"),
    (lambda c, n: draw(0, cholesky(c).T, n), "L.T; and the mean is missing"),
    (lambda c, n: draw(c.mean(0), torch.linalg.cholesky(by_hand(c, 0)), n),
     "only once the mean is subtracted"),
    (lambda c, n: c.mean(0) + torch.randn(n, 4) @ cholesky(c).T, "and not Z_DIM"),
    (lambda c, n: c.mean(0) + cholesky(c) @ torch.randn(n, 2), "noise @ L.T fits"),
    (lambda c, n: torch.randn(n, 4) * c.std(0), "and not Z_DIM"),
    (lambda c, n: c.mean(0).repeat(n, 1), "every row is the mean"),
    (lambda c, n: draw(c.mean(0), cholesky(c), 1).repeat(n, 1),
     "all rows are one draw"),
    (lambda c, n: c[torch.randint(len(c), (n,))], "codes of the data again"),
    (lambda c, n: draw(c.mean(0), cholesky(c), 5), "wanted is (40000, 2)"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n).T, "the shape is"),
    (lambda c, n: draw(c.mean(0), 3 * cholesky(c), n), "does not know"),
    (lambda c, n: draw(c.mean(0), cholesky(c), n) * math.nan, "NaN"),
    (lambda c, n: torch.randn(n, 2).double() @ cholesky(c), "stopped with Runtime"),
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
