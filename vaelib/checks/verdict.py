"""The verdict on an answer: not attempted, right, or the name of the mistake."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ROUNDED = 1e-3  # a mistake is known by its name even where it was rounded


def try_answer(answer: Callable, *arguments):
    """answer(*arguments) as a tensor; None if not attempted; a text if it fails."""
    copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        value = answer(*copies)
    except Exception as error:  # whatever a learner's code may raise
        first_line = str(error).strip().partition("\n")[0].rstrip(".")
        return f"it stopped with {type(error).__name__}: {first_line}"
    if value is None or value is ...:
        return None
    if isinstance(value, str):
        return f"{value!r} is a text: write numbers without quotes"
    try:
        value = torch.as_tensor(value).detach().to_dense().cpu()
        return "it holds complex numbers" if value.is_complex() else value.double()
    except (TypeError, ValueError, RuntimeError):
        return f"it is a {type(value).__name__}, where numbers are wanted"


def _distance(answer: Tensor, other: Tensor) -> float:
    """The largest relative difference of two tensors; infinite if shapes differ."""
    if answer.shape != other.shape:
        return math.inf
    return ((answer - other).abs() / other.abs().clamp(min=1e-3)).max().item()


def is_close(answer, other: Tensor, rtol: float = 1e-4) -> bool:
    """Whether an attempt is a tensor with these numbers."""
    return isinstance(answer, Tensor) and _distance(answer, other) < rtol


def unknown_mistake(answer: Tensor, truth: Tensor) -> str:
    if answer.shape != truth.shape:
        return f"the shape is {tuple(answer.shape)}, wanted is {tuple(truth.shape)}"
    if answer.isnan().any():
        return "it contains NaN"
    return "the numbers are wrong, in a way this check does not know"


def report(
    answer,
    truth: Tensor,
    mistakes: dict[str, Tensor],
    right: str,
    rtol: float = 1e-4,
    as_right: Sequence[Tensor] = (),
    rounded: float = ROUNDED,
) -> None:
    """Print the verdict on an attempt, against the truth and the known mistakes.

    `as_right` are other answers that are as good as the truth. A mistake is known by
    its name within `rounded`, or within `rtol` if that is more.
    """
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.reshape(truth.shape) if truth.numel() == 1 else answer
    if answer is None:
        print("Not attempted yet.")
    elif isinstance(answer, str):
        print(f"Not yet: {answer}.")
    elif any(is_close(answer, good, rtol) for good in (truth, *as_right)):
        print(f"Right: {right}.")
    else:
        nearest = min(mistakes, key=lambda text: _distance(answer, mistakes[text]))
        known = _distance(answer, mistakes[nearest]) < max(rtol, rounded)
        print(f"Not yet: {nearest if known else unknown_mistake(answer, truth)}.")


def report_diagnosis(
    answer, planted: dict[str, int], mistakes: Sequence[str], against: Sequence[str]
) -> None:
    """Print a verdict for each name on which of `mistakes`, by its number, it has.

    `against` says of each mistake what one would have seen, for when it is not there.
    """
    if not isinstance(answer, dict) or not answer.keys() <= planted.keys():
        print('Not yet: answer with a dictionary such as {"A": 2, "B": None, ...}.')
        return
    for name, number in planted.items():
        guess = answer.get(name)
        if guess is None or guess is ...:
            print(f"{name}: Not attempted yet.")
        elif type(guess) is not int or not 0 <= guess < len(mistakes):
            last = len(mistakes) - 1
            print(f"{name}: Not yet: write a number from 0 to {last}, bare.")
        elif guess == number:
            print(f"{name}: Right: {mistakes[number]}.")
        else:
            print(f"{name}: Not yet: {against[guess]}")
