"""Intended use and limits of a model, in sentences that its facts decide."""

from __future__ import annotations

from collections.abc import Sequence

from darklung.publish.card import Data, Evaluation

NOT_FOR_PATIENTS = "For research only: it is no medical device, and no decision on a patient may rest on it."


def use_of(data: Data, dims: int) -> tuple[str, ...]:
    """What the model is for."""
    kind = "volumes" if dims == 3 else "radiographs"
    names = ", ".join(c.name for c in data.channels)
    return (
        f"Maps of where tumours may be in {kind} of mouse lungs with the channels {names}, by darklung predict.",
        NOT_FOR_PATIENTS,
    )


def limits_of(data: Data, evaluation: Evaluation | None, refusals: Sequence[str]) -> tuple[str, ...]:
    """What the model was not shown, and what `predict` refuses (`refusals`)."""
    return (*_shown(data), *_judged(evaluation), *(f"darklung predict refuses {text}." for text in refusals))


def _shown(data: Data) -> list[str]:
    told = ["No other species, organ or scanner than those told under Data was looked at."]
    if data.spacing_um:
        told.append(f"It has seen voxels of {_by(data.spacing_um)} um alone.")
    told.append(
        f"It has seen images at {', '.join(f'{e:g}' for e in data.energies_kev)} keV alone."
        if data.energies_kev
        else "The energy of its images is not known."
    )
    kinds = {s.animals for s in data.sources or ()}
    if kinds == {"simulated"}:
        told.append("It has seen simulated animals alone: how it does on measured ones is not known.")
    elif kinds and all(s.synthetic for s in data.sources or ()):
        told.append("Every lesion that it has seen is simulated or was put in: how it does on real ones is not known.")
    return told


def _judged(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["No evaluation of it is known."]
    known = [f"{s.whole.animals} in {s.split}" for s in evaluation.splits if s.whole.animals is not None]
    return [f"The numbers of animals that it was judged on: {', '.join(known)}."] if known else []


def _by(values: Sequence[float]) -> str:
    return " x ".join(f"{v:.4g}" for v in values)
