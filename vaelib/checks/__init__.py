"""Checks for the exercises: each names the misconception behind a wrong answer.

A check prints one line: not attempted yet, right, or which mistake was made. It never
raises for a wrong answer, so that a notebook runs on to its end. There is a module for
each notebook; `verdict` holds what they share.
"""

from vaelib.checks.autoencoder_basics import (
    autoencoder_size,
    eckart_young_error,
    fitted_draws,
    pca_reconstruction,
    principal_angles,
)
from vaelib.checks.discrete_latents import (
    exact_logit_gradient,
    gumbel_max_draws,
    kl_to_uniform,
    leave_one_out_slopes,
    straight_through,
)
from vaelib.checks.disentanglement import (
    break_even_beta,
    gap,
    gaussian_total_correlation,
    lost_nats,
    two_losses,
)
from vaelib.checks.latent_exploration import (
    aggregate_variance,
    ears_latent,
    posterior_draws,
    spherical_interpolation,
    squared_length,
)
from vaelib.checks.reparameterisation import (
    SAMPLER_MISTAKES,
    SAMPLERS,
    exponential_draws,
    leave_one_out_estimate,
    logistic_draws,
    planted_samplers,
    score_estimates,
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
from vaelib.checks.variational_inference import (
    beta_of_two_means,
    elbo_from_draws,
    kl_between,
    kl_of_linear_units,
    normalised_posterior,
)

__all__ = [
    "BUGS",
    "PLANTED_BUGS",
    "SAMPLERS",
    "SAMPLER_MISTAKES",
    "aggregate_variance",
    "autoencoder_size",
    "beta_of_two_means",
    "bound_on_test_data",
    "break_even_beta",
    "ears_latent",
    "eckart_young_error",
    "effective_beta",
    "elbo_from_draws",
    "exact_logit_gradient",
    "exponential_draws",
    "fitted_draws",
    "gap",
    "gaussian_total_correlation",
    "gumbel_max_draws",
    "kl_between",
    "kl_of_linear_units",
    "kl_per_latent",
    "kl_to_uniform",
    "leave_one_out_estimate",
    "leave_one_out_slopes",
    "logistic_draws",
    "lost_nats",
    "normalised_posterior",
    "pca_reconstruction",
    "planted_bugs",
    "planted_samplers",
    "posterior_draws",
    "principal_angles",
    "score_estimates",
    "sigma_from_log_var",
    "spherical_interpolation",
    "squared_length",
    "straight_through",
    "two_losses",
]
