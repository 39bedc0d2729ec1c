"""Data that several test files share, read once a session; no test may change it."""

import pytest

from vaelib.data import load


@pytest.fixture(scope="session")
def mnist_train():
    """The images and labels that MNIST trains with."""
    return load("mnist")


@pytest.fixture(scope="session")
def mnist_test():
    """The images and labels that MNIST tests with."""
    return load("mnist", train=False)
