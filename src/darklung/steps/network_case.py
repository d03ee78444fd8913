"""A labelled case as networks and other observers take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from darklung.core.channel import directions_of
from darklung.io.case import CaseFacts, LabelledCase
from darklung.learn.data import Case, Normalisation
from darklung.steps.seen import DIRECTIONS
from darklung.study.learning import LearningPart


def network_case(stored: LabelledCase) -> Case:
    """The same as the networks take it; its subject is the animal, by which folds and intervals go."""
    energy_kev, correlation_length_m = beam_of(stored.about)
    return Case(
        subject=stored.about.animal,
        image=stored.channels,
        target=stored.labels,
        region=stored.region,
        hard=stored.hard,
        lung=stored.lung,
        energy_kev=energy_kev,
        correlation_length_m=correlation_length_m,
        directions=directions_seen(stored),
    )


def directions_seen(stored: LabelledCase) -> tuple[float, ...]:
    """Directions [degrees] of all dark fields of a case, also of those that an arm does not see."""
    told = stored.about.provenance.get(DIRECTIONS)
    known = tuple(float(d) for d in told if isinstance(d, int | float)) if isinstance(told, list) else ()
    return known or directions_of(stored.channels.names)


def beam_of(facts: CaseFacts) -> tuple[float | None, float | None]:
    """Energy [keV] and ξ [m] that a case's values refer to; None where they are not known."""
    energy, length = (facts.provenance.get(name) for name in ("energy_kev", "correlation_length_m"))
    return (
        float(energy) if isinstance(energy, int | float) else None,
        float(length) if isinstance(length, int | float) else None,
    )


def facts_of(part: LearningPart, arm: str, training: Sequence[LabelledCase]) -> dict[str, Any]:
    """What model.json keeps of the training images: the arm, energies and ξ, directions, and channels constant in a lung."""
    beams = dict.fromkeys(beam_of(case.about) for case in training)
    facts: dict[str, Any] = {"arm": arm, "beams": [list(b) for b in beams]}
    facts |= {"directions": list(seen)} if (seen := directions_seen(training[0])) else {}
    constant = {
        c.about.subject: list(n) for c in training if (n := constant_channels(part.arms[arm], part.normalisation, c))
    }
    return {**facts, "constant": constant} if constant else facts


def constant_channels(channels: Sequence[str], per: str, stored: LabelledCase) -> tuple[str, ...]:
    """Channels that are zeros for an observer, since they are normalised by the volume and constant inside its lung."""
    ones = (1.0,) * len(channels)
    return Normalisation(tuple(channels), ones, ones, per).constant(network_case(stored))
