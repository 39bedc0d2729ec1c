"""Gradient estimators against closed forms, quadrature by SciPy, loops and autograd."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import chi, kstest, norm
from torch.distributions import Normal

from vaelib import gradients

N = 1_000_000
POINTS = [(1.0, 1.0, 0.0), (-0.5, 0.6, 1.2), (0.4, 1.5, 0.3)]  # mu, sigma, k
MU, SIGMA = 0.3, 0.8


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def eps_of(samples, seed=0):
    """The noise that every estimator draws first from this seed."""
    return torch.randn(samples, generator=seeded(seed), dtype=torch.float64)


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def parabola(k):
    return lambda z: (z - k) ** 2


def step(k):
    return lambda z: z > k


def skewed(z):
    """Without any symmetry, and with all that a Taylor series has."""
    return torch.exp(0.7 * z) + torch.sin(3 * z)


def mean_baseline(f, mu, sigma, samples, generator=None):
    baseline = gradients.expectation(f, mu, sigma)
    return gradients.score_function(f, mu, sigma, samples, generator, baseline)


def optimal_baseline(f, mu, sigma, samples, generator=None):
    baseline = gradients.optimal_baseline(f, mu, sigma)
    return gradients.score_function(f, mu, sigma, samples, generator, baseline)


def pairs(f, mu, sigma, samples, generator=None):
    """Leave-one-out over pairs: the means of the pairs, which are independent."""
    each = gradients.leave_one_out(f, mu, sigma, (samples // 2, 2), generator)
    return each.mean(-2)


ESTIMATORS = {
    "pathwise": gradients.pathwise,
    "score": gradients.score_function,
    "score, mean": mean_baseline,
    "score, optimal": optimal_baseline,
    "leave-one-out": pairs,
    "measure-valued": gradients.measure_valued,
    "finite differences": gradients.finite_differences,
}
ALL = [
    gradients.pathwise,
    gradients.score_function,
    gradients.leave_one_out,
    gradients.measure_valued,
    gradients.finite_differences,
]
EXACT = [
    gradients.expectation,
    gradients.exact_gradient,
    gradients.optimal_baseline,
    gradients.pathwise_variance,
    gradients.score_function_variance,
]


def parabola_variances(mu, sigma, k):
    """The table of the syllabus: the variances of d/dmu and d/dsigma of (z - k)^2."""
    dd, ss = (mu - k) ** 2, sigma**2
    mean = 8 * dd + 10 * ss, 40 * dd + 56 * ss
    # f - mean of the other one of a pair: its variance, times 1/s^2 and 2/s^2, is added
    # to each estimate; the two have covariance g^2, for g = (2d, 2s).
    of_f = 4 * dd * ss + 2 * ss**2
    pair = (mean[0] + of_f / ss + 4 * dd) / 2, (mean[1] + 2 * of_f / ss + 4 * ss) / 2
    return {
        "pathwise": (4 * ss, 4 * dd + 8 * ss),
        "score": (
            dd**2 / ss + 14 * dd + 15 * ss,
            2 * dd**2 / ss + 60 * dd + 74 * ss,
        ),
        "score, mean": mean,
        "score, optimal": (8 * dd + 6 * ss, 40 * dd + 24 * ss),
        "leave-one-out": pair,
        "measure-valued": ((16 / math.pi - 4) * dd, 4 * dd + 4 * ss),
        "finite differences": (4 * ss, 4 * dd + 8 * ss),
    }


def assert_mean(estimates, truth, errors=5):
    """The mean of independent estimates (N, 2) is within some standard errors."""
    standard_error = estimates.std(0) / len(estimates) ** 0.5
    off = (estimates.mean(0) - truth).abs() / (standard_error + 1e-12)
    assert (off < errors).all(), f"mean off by {off.tolist()} standard errors"


def assert_variance(estimates, truth, errors=5):
    variance, standard_error = gradients.variance_with_error(estimates)
    off = (variance - torch.as_tensor(truth)).abs() / (standard_error + 1e-12)
    assert (off < errors).all(), f"variance off by {off.tolist()} standard errors"


def by_scipy(g, mu, sigma, points=()):
    """E[g(z)] by SciPy, split at `points`; g takes and returns numbers."""
    ends = [mu - 12 * sigma, *sorted(points), mu + 12 * sigma]
    return sum(
        quad(lambda z: g(z) * norm.pdf(z, mu, sigma), a, b, epsabs=1e-11, limit=500)[0]
        for a, b in pairwise(ends)
    )


def number(f):
    return lambda z: float(f(tensor(z)))


# Mean and variance, sampled


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("mu", "sigma", "k"), POINTS)
def test_parabola_has_the_means_and_variances_of_the_table(name, mu, sigma, k):
    estimates = ESTIMATORS[name](parabola(k), mu, sigma, N, seeded(1))
    assert_mean(estimates, tensor(2 * (mu - k), 2 * sigma))
    assert_variance(estimates, parabola_variances(mu, sigma, k)[name])


def test_table_is_the_one_printed_for_mu_1_sigma_1_k_0():
    table = parabola_variances(1.0, 1.0, 0.0)
    assert table["pathwise"] == table["finite differences"] == (4, 12)
    assert table["score"] == (30, 136)
    assert table["score, mean"] == (18, 96)
    assert table["score, optimal"] == (14, 64)
    assert table["measure-valued"] == pytest.approx((1.093, 8), abs=5e-4)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_is_unbiased_on_a_skewed_function(name):
    f = number(skewed)
    to_mu = by_scipy(lambda z: f(z) * (z - MU) / SIGMA**2, MU, SIGMA)
    to_sigma = by_scipy(
        lambda z: f(z) * ((z - MU) ** 2 / SIGMA**3 - 1 / SIGMA), MU, SIGMA
    )
    estimates = ESTIMATORS[name](skewed, MU, SIGMA, N // 2, seeded(2))
    assert_mean(estimates, tensor(to_mu, to_sigma))


COSINES = [(0.5, 0.039, 0.455), (2, 1.940, 0.441), (5, 12.5, 0.5)]
BELLS = [(0.1, 0.016, 0.564), (10, 0.942, 0.077)]


@pytest.mark.parametrize(
    ("f", "pathwise", "score"),
    [
        *((lambda z, k=k: torch.cos(k * z), *numbers) for k, *numbers in COSINES),
        *((lambda z, k=k: torch.exp(-k * z * z), *numbers) for k, *numbers in BELLS),
    ],
)
def test_where_pathwise_wins_and_where_it_loses(f, pathwise, score):
    """Of var d/dmu at N(1, 1): the exact numbers of the syllabus, then by sampling."""
    for of_exact, of_samples, number in [
        (gradients.pathwise_variance, gradients.pathwise, pathwise),
        (gradients.score_function_variance, gradients.score_function, score),
    ]:
        exact = of_exact(f, 1.0, 1.0)
        digits = 0.05 if number == 12.5 else 0.0005
        assert exact[0].item() == pytest.approx(number, abs=digits)
        assert_variance(of_samples(f, 1.0, 1.0, N // 4, seeded(3)), exact)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_step_needs_no_derivative_but_pathwise_does(name):
    height = norm.pdf(0.5, MU, SIGMA)
    truth = tensor(height, height * (0.5 - MU) / SIGMA)
    estimates = ESTIMATORS[name](step(0.5), MU, SIGMA, N // 2, seeded(4))
    if name == "pathwise":
        assert torch.equal(estimates, torch.zeros(N // 2, 2).double())
    else:
        assert_mean(estimates, truth)


# What each is by definition


def test_pathwise_is_autograd_through_rsample():
    mu, sigma = (
        torch.full((N // 2,), v, dtype=torch.float64, requires_grad=True)
        for v in (MU, SIGMA)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        skewed(Normal(mu, sigma).rsample()).sum().backward()
    theirs = torch.stack([mu.grad, sigma.grad], -1)
    ours = gradients.pathwise(skewed, MU, SIGMA, N // 2, seeded(6))
    for of_theirs, of_ours in [
        (theirs, ours),
        (theirs.square(), ours.square()),
        (theirs[:, :1] * theirs[:, 1:], ours[:, :1] * ours[:, 1:]),
    ]:
        assert_mean(of_ours - of_theirs, 0)
    # And the same noise gives the same estimates, one by one.
    eps = eps_of(7)
    mu, sigma = (tensor(v).expand(7).clone().requires_grad_() for v in (MU, SIGMA))
    grads = torch.autograd.grad(skewed(mu + sigma * eps).sum(), (mu, sigma))
    ours = gradients.pathwise(skewed, MU, SIGMA, 7, seeded())
    torch.testing.assert_close(ours, torch.stack(grads, -1))


@pytest.mark.parametrize("baseline", [0.0, 1.7, tensor(1.7, -0.4)])
def test_score_function_is_autograd_of_the_log_density(baseline):
    z = MU + SIGMA * eps_of((3, 4))
    mu, sigma = (tensor(v).expand(3, 4).clone().requires_grad_() for v in (MU, SIGMA))
    grads = torch.autograd.grad(Normal(mu, sigma).log_prob(z).sum(), (mu, sigma))
    theirs = (skewed(z).unsqueeze(-1) - baseline) * torch.stack(grads, -1)
    ours = gradients.score_function(
        skewed, MU, SIGMA, (3, 4), seeded(), baseline=baseline
    )
    torch.testing.assert_close(ours, theirs)


def test_leave_one_out_is_its_definition():
    r, k = 3, 4
    ours = gradients.leave_one_out(skewed, MU, SIGMA, (r, k), seeded())
    eps = eps_of((r, k))
    values = skewed(MU + SIGMA * eps)
    for i in range(r):
        for j in range(k):
            others = [values[i, m].item() for m in range(k) if m != j]
            signal = values[i, j].item() - sum(others) / len(others)
            e = eps[i, j].item()
            wanted = signal * e / SIGMA, signal * (e * e - 1) / SIGMA
            assert ours[i, j].tolist() == pytest.approx(wanted, rel=1e-12)
    alone = gradients.leave_one_out(skewed, MU, SIGMA, r * k, seeded())
    assert alone.shape == (r * k, 2)
    assert not torch.allclose(alone, ours.flatten(0, 1))  # one baseline over all


@pytest.mark.parametrize("k", [2, 5])
def test_leave_one_out_costs_little_more_than_the_mean_baseline(k):
    """Exactly: of an average over K samples, whatever f is."""
    estimates = gradients.leave_one_out(skewed, MU, SIGMA, (N // 5, k), seeded(7))
    mean = gradients.expectation(skewed, MU, SIGMA)
    of_f = gradients.expectation(lambda z: (skewed(z) - mean) ** 2, MU, SIGMA)
    one = gradients.score_function_variance(skewed, MU, SIGMA, mean)
    one += of_f / (k - 1) * tensor(1, 2) / SIGMA**2
    assert_variance(estimates.flatten(0, 1)[::k], one)
    g = gradients.exact_gradient(skewed, MU, SIGMA)
    assert_variance(estimates.mean(-2), one / k + g**2 / (k * (k - 1)))


def test_measure_valued_draws_what_it_says():
    """Seen through f = identity and a recorder: the four places where f is asked."""
    asked = []

    def record(z):
        asked.append((z - MU) / SIGMA)
        return z

    gradients.measure_valued(record, MU, SIGMA, 20_000, seeded(8))
    right, left, maxwell, normal = (z.numpy() for z in asked[-4:])
    assert abs(right + left).max() < 1e-12
    for draws, law in [
        (right, chi(2)),  # Rayleigh
        (abs(maxwell), chi(3)),
        (normal, norm()),
        (normal / maxwell, "uniform"),
    ]:
        assert kstest(draws, getattr(law, "cdf", law)).pvalue > 0.001
    assert abs((maxwell > 0).mean() - 0.5) < 5 * 0.5 / len(maxwell) ** 0.5
    # Coupled, and no more than that: the fraction knows nothing of the length.
    fraction, length = normal / maxwell, abs(maxwell)
    assert all(
        kstest(part, "uniform").pvalue > 0.001
        for part in (fraction[length < 1.5], fraction[length > 1.5])
    )


@pytest.mark.parametrize("h", [0.1, 0.05])
def test_finite_differences_are_off_by_h_squared(h):
    """For z^3 by h^2 and h^2 eps^3, in each estimate; for z^2 by nothing."""
    ours = gradients.finite_differences(lambda z: z**3, MU, SIGMA, 9, seeded(), h=h)
    true = gradients.pathwise(lambda z: z**3, MU, SIGMA, 9, seeded())
    bias = h**2 * torch.stack([torch.ones(9).double(), eps_of(9) ** 3], -1)
    torch.testing.assert_close(ours - true, bias)
    ours = gradients.finite_differences(parabola(1.0), MU, SIGMA, 9, seeded(), h=h)
    true = gradients.pathwise(parabola(1.0), MU, SIGMA, 9, seeded())
    torch.testing.assert_close(ours, true)


def test_bias_of_finite_differences_falls_by_four_when_h_is_halved():
    true = gradients.pathwise(skewed, MU, SIGMA, 100_000, seeded())

    def bias(h):
        ours = gradients.finite_differences(skewed, MU, SIGMA, 100_000, seeded(), h)
        return (ours - true).mean(0)

    torch.testing.assert_close(bias(0.02) / bias(0.01), tensor(4, 4), rtol=0.01, atol=0)


@pytest.mark.parametrize("h", [0.1, 0.01])
def test_finite_differences_of_a_step_pay_for_a_small_h(h):
    hit = norm.cdf(0.5 + h, MU, SIGMA) - norm.cdf(0.5 - h, MU, SIGMA)
    mean = hit / (2 * h)
    estimates = gradients.finite_differences(step(0.5), MU, SIGMA, N, seeded(), h)
    assert_variance(estimates[:, :1], mean / (2 * h) - mean**2)


@pytest.mark.parametrize("estimator", ALL)
def test_same_seed_same_estimates_and_nothing_global(estimator):
    state = torch.get_rng_state()
    first, again, other = (
        estimator(skewed, MU, SIGMA, (3, 2), seeded(s)) for s in (1, 1, 2)
    )
    assert (first.shape, first.dtype) == ((3, 2, 2), torch.float64)
    assert torch.equal(first, again)
    assert not torch.isclose(first, other).any()
    assert torch.equal(torch.get_rng_state(), state)
    assert len(first.unique()) == 12  # no noise is used twice
    assert estimator(skewed, MU, SIGMA, 5).shape == (5, 2)  # and without a generator


@pytest.mark.parametrize("estimator", ALL)
def test_weights_inside_f_and_no_grad_outside_make_no_difference(estimator):
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    plain = estimator(skewed, MU, SIGMA, 5, seeded())
    weighted = estimator(lambda z: weight * skewed(z), MU, SIGMA, 5, seeded())
    with torch.no_grad():
        frozen = estimator(skewed, MU, SIGMA, 5, seeded())
    assert torch.equal(plain, weighted) and torch.equal(plain, frozen)
    assert not weighted.requires_grad


def test_weights_inside_a_step_lead_pathwise_nowhere():
    weight = torch.ones((), requires_grad=True)
    estimates = gradients.pathwise(lambda z: weight * (z > 0), MU, SIGMA, 5)
    assert torch.equal(estimates, torch.zeros(5, 2).double())


def test_variance_and_its_error_are_those_of_many_repetitions():
    eps = eps_of((2000, 500, 1))
    draws = torch.cat([eps, eps**2], -1)  # variances 1 and 2, fourth moments 3 and 60
    variances, errors = gradients.variance_with_error(draws.transpose(0, 1))
    for j, (variance, fourth) in enumerate([(1, 3), (2, 60)]):
        assert variances[:, j].mean().item() == pytest.approx(variance, rel=0.01)
        error = ((fourth - variance**2) / 500) ** 0.5
        assert variances[:, j].std().item() == pytest.approx(error, rel=0.05)
        assert errors[:, j].square().mean().sqrt().item() == pytest.approx(
            error, rel=0.05
        )


# Exact values


@pytest.mark.parametrize(("mu", "sigma", "k"), POINTS)
def test_parabola_is_exact_by_quadrature(mu, sigma, k):
    f, dd, ss = parabola(k), (mu - k) ** 2, sigma**2
    table = parabola_variances(mu, sigma, k)
    mean, best = gradients.expectation(f, mu, sigma), (dd + 3 * ss, dd + 5 * ss)
    assert mean == pytest.approx(dd + ss, rel=1e-12)
    for ours, truth in [
        (gradients.exact_gradient(f, mu, sigma), (2 * (mu - k), 2 * sigma)),
        (gradients.optimal_baseline(f, mu, sigma), best),
        (gradients.pathwise_variance(f, mu, sigma), table["pathwise"]),
        (gradients.score_function_variance(f, mu, sigma), table["score"]),
        (gradients.score_function_variance(f, mu, sigma, mean), table["score, mean"]),
        (
            gradients.score_function_variance(f, mu, sigma, best),
            table["score, optimal"],
        ),
    ]:
        assert ours.tolist() == pytest.approx(truth, rel=1e-11)


SHAPES = {  # f, and where it jumps or bends, or where SciPy might not look
    "skewed": (skewed, []),
    "fast": (lambda z: torch.cos(20 * z), []),
    "narrow": (lambda z: torch.exp(-200 * (z - 0.2) ** 2), [0.1, 0.2, 0.3]),
    "step": (step(0.4567), [0.4567]),
    "jump within": (lambda z: torch.where(z > 0.1, z**2, torch.sin(z)), [0.1]),
    "jump at a cell's end": (step(MU), [MU]),
    "kink": (lambda z: torch.relu(z - 0.1234), [0.1234]),
    "kink at a cell's middle": (lambda z: (z - MU - SIGMA / 32).abs(), [0.325]),
    "two kinks and a jump": (
        lambda z: z.clamp(-0.7, 0.9) + (z > 0.2),
        [-0.7, 0.2, 0.9],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_exact_values_are_those_of_scipy(name):
    torch_f, points = SHAPES[name]
    f = number(torch_f)

    def moments(g):
        """The mean and the variance of g(z)."""
        first = by_scipy(g, MU, SIGMA, points)
        return first, by_scipy(lambda z: (g(z) - first) ** 2, MU, SIGMA, points)

    def slope(z):
        z = tensor(z).requires_grad_()
        value = torch_f(z)
        return torch.autograd.grad(value, z)[0].item() if value.requires_grad else 0.0

    mean, _ = moments(f)
    assert gradients.expectation(torch_f, MU, SIGMA) == pytest.approx(mean, abs=1e-9)
    gradient = gradients.exact_gradient(torch_f, MU, SIGMA)
    of_pathwise = gradients.pathwise_variance(torch_f, MU, SIGMA)
    of_score = gradients.score_function_variance(torch_f, MU, SIGMA, 0.3)
    scores = (
        lambda z: (z - MU) / SIGMA**2,
        lambda z: (z - MU) ** 2 / SIGMA**3 - 1 / SIGMA,
    )
    dz = lambda z: 1, lambda z: (z - MU) / SIGMA
    for j in 0, 1:
        truth, _ = moments(lambda z, score=scores[j]: f(z) * score(z))
        assert gradient[j].item() == pytest.approx(truth, abs=1e-9)
        _, variance = moments(lambda z, score=scores[j]: (f(z) - 0.3) * score(z))
        assert of_score[j].item() == pytest.approx(variance, rel=1e-8)
        _, variance = moments(lambda z, to=dz[j]: slope(z) * to(z))
        assert of_pathwise[j].item() == pytest.approx(variance, rel=1e-8, abs=1e-10)


def test_no_baseline_beats_the_optimal_one():
    best = gradients.optimal_baseline(skewed, MU, SIGMA)
    least = gradients.score_function_variance(skewed, MU, SIGMA, best)
    for shift in -0.1, 0.1:
        worse = gradients.score_function_variance(skewed, MU, SIGMA, best + shift)
        squared = tensor(1, 2) / SIGMA**2  # E[s^2], the curvature of a parabola
        torch.testing.assert_close(worse - least, shift**2 * squared)


# Mistakes


def unreachable(z):
    raise AssertionError("f was asked although the mistake was known")


ESTIMATOR_MISTAKES = {
    "f no function": (
        {"f": 3.0},
        TypeError,
        "f must be a function such as torch.cos, not 3.0",
    ),
    "f averages": (
        {"f": lambda z: (z**2).mean()},
        ValueError,
        r"f turned z of shape \(3,\) into \(\): f must act on each entry",
    ),
    "f a constant": (
        {"f": lambda z: 1.0},
        ValueError,
        "into float: f must act on each entry of z by itself, as torch.cos",
    ),
    "mu a tensor": (
        {"mu": torch.zeros(1)},
        TypeError,
        r"mu must be a finite number, not tensor\(\[0.\]\): use .item\(\)",
    ),
    "mu NaN": ({"mu": math.nan}, TypeError, "mu must be a finite number, not nan"),
    "sigma a text": ({"sigma": "1"}, TypeError, "sigma must be a finite number"),
    "sigma infinite": ({"sigma": math.inf}, TypeError, "must be a finite number"),
    "sigma 0": ({"sigma": 0}, ValueError, "sigma must be positive.*entry of 0"),
    "sigma < 0": ({"sigma": -0.5}, ValueError, "sigma must be positive.*of -0.5"),
}
SAMPLE_MISTAKES = {
    "samples 0": (
        {"samples": 0},
        ValueError,
        r"samples is 0 but must be a whole number of at least \d, or a shape",
    ),
    "samples 1e3": ({"samples": 1e3}, ValueError, "1000.0 but must be a whole number"),
    "no axis": ({"samples": ()}, ValueError, r"samples is \(\) but must be"),
    "no repetition": ({"samples": (0, 3)}, ValueError, r"samples is \(0, 3\) but"),
    "a list": ({"samples": [2, 3]}, ValueError, r"is \[2, 3\] but.* a shape \(R, K\)"),
}


def asked_nothing_of_chance(function, error, message, **options):
    generator = seeded()
    states = torch.get_rng_state(), generator.get_state()
    if function in ALL:
        options = {"samples": (3, 2), "generator": generator} | options
    arguments = {"f": torch.cos, "mu": 0.0, "sigma": 1.0} | options
    with pytest.raises(error, match=f"(?s){message}"):
        function(**arguments)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(generator.get_state(), states[1])


@pytest.mark.parametrize("name", ESTIMATOR_MISTAKES)
@pytest.mark.parametrize("function", [*ALL, *EXACT])
def test_mistake_in_the_problem_is_named(function, name):
    options, error, message = ESTIMATOR_MISTAKES[name]
    asked_nothing_of_chance(function, error, message, **options)


@pytest.mark.parametrize("name", SAMPLE_MISTAKES)
@pytest.mark.parametrize("function", ALL)
def test_mistake_in_the_samples_is_named(function, name):
    options, error, message = SAMPLE_MISTAKES[name]
    asked_nothing_of_chance(function, error, message, **options)


@pytest.mark.parametrize(
    ("function", "error", "message", "options"),
    [
        *(
            (
                gradients.leave_one_out,
                ValueError,
                "must be a whole number of at least 2, or a shape",
                {"samples": samples},
            )
            for samples in (1, (5, 1))
        ),
        *(
            (
                gradients.finite_differences,
                ValueError,
                "h must lie between 0 and sigma = 1 but is",
                {"h": h},
            )
            for h in (0, -0.1, 1.0, math.nan)
        ),
        *(
            (
                function,
                ValueError,
                r"baseline has shape \(3, 2\) but must be one number, or two",
                {"baseline": torch.zeros(3, 2), "f": unreachable},
            )
            for function in (
                gradients.score_function,
                gradients.score_function_variance,
            )
        ),
    ],
)
def test_mistake_of_one_estimator_is_named(function, error, message, options):
    asked_nothing_of_chance(function, error, message, **options)
