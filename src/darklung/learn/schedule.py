"""What happens when in a training: the learning rate, validations, and when to give up."""

from __future__ import annotations

import numpy as np

from darklung.learn.settings import TrainingPart

# How often the validation cases are scored: every so many steps, within these bounds. Each costs as much as about 20 steps,
# so that a tenth of a training goes into it.
STEPS_A_VALIDATION = 200
VALIDATIONS = (2, 20)
FIRST_VALIDATION = 0.4  # share of the steps before the first
LEAST_PATIENCE = 2


def rate(training: TrainingPart, highest: float, step: int, steps: int) -> float:
    """Learning rate of `step` (from 0 on) of `steps`: linear warm-up to `highest`, then half a cosine down to zero."""
    warm = max(1, round(training.warm_up * steps))
    if step < warm:
        return highest * (step + 1) / warm
    return float(highest * 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1, steps - warm))))


def validation_steps(training: TrainingPart, start: int, end: int) -> set[int]:
    """Steps after which the validation cases are scored, of a training from `start` to `end`; the last is one."""
    count = validations(training, end - start)
    shares = np.linspace(FIRST_VALIDATION, 1.0, count) if count > 1 else np.ones(1)
    return {start + max(1, round(float(s) * (end - start))) for s in shares}


def validations(training: TrainingPart, steps: int) -> int:
    """How many there are."""
    return training.validations or int(np.clip(steps // STEPS_A_VALIDATION, *VALIDATIONS))


def patience(training: TrainingPart, steps: int) -> int:
    """Validations in a row that were not kept and end a training.

    The rate falls to zero at the end, which helps much: stopping is for trainings that got worse for half of their time.
    """
    return training.patience or max(LEAST_PATIENCE, validations(training, steps) // 2)
