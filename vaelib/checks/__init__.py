"""Checks for the exercises: each names the misconception behind a wrong answer.

A check prints one line: not attempted yet, right, or which mistake was made. It never
raises for a wrong answer, so that a notebook runs on to its end. There is a module for
each notebook; `verdict` holds what they share.
"""

from vaelib.checks.latent_exploration import (
    aggregate_variance,
    ears_latent,
    posterior_draws,
    spherical_interpolation,
    squared_length,
)
from vaelib.checks.training import (
    BUGS,
    PLANTED_BUGS,
    bound_on_test_data,
    effective_beta,
    kl_per_latent,
    planted_bugs,
    sigma_from_log_var,
)

__all__ = [
    "BUGS",
    "PLANTED_BUGS",
    "aggregate_variance",
    "bound_on_test_data",
    "ears_latent",
    "effective_beta",
    "kl_per_latent",
    "planted_bugs",
    "posterior_draws",
    "sigma_from_log_var",
    "spherical_interpolation",
    "squared_length",
]
