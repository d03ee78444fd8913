"""A labelled case as the networks take it."""

from __future__ import annotations

from darklung.io.case import CaseFacts, LabelledCase
from darklung.learn.data import Case


def network_case(stored: LabelledCase) -> Case:
    """The same as the networks take it; its subject is the animal, by which folds and intervals go."""
    return Case(
        subject=stored.about.animal,
        image=stored.channels,
        target=stored.labels,
        region=stored.region,
        hard=stored.hard,
        lung=stored.lung,
    )


def beam_of(facts: CaseFacts) -> tuple[float | None, float | None]:
    """Energy [keV] and ξ [m] that a case's values refer to; None where they are not known."""
    energy, length = (facts.provenance.get(name) for name in ("energy_kev", "correlation_length_m"))
    return (
        float(energy) if isinstance(energy, int | float) else None,
        float(length) if isinstance(length, int | float) else None,
    )
