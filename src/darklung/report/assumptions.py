"""What a study's results rest on, in words: assumptions of each kind of source, and flaws that were simulated or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ASSUMED = {
    "simulation": (
        "Simulated animals, lesions and frames: nothing of them was measured.",
        "Lung is a two-phase medium with an exponential (Debye) covariance; its dark field is uncertain by ± 50 %.",
        "Mimics keep the interface density stated for their class; the ranking of the arms depends on it.",
        "Visibility over energy is that of an ideal interferometer, scaled to the stated mean visibility.",
        "The flat field is known as well as the stated number of flats allows; spectrum and visibility spectrum exactly.",
    ),
    "lobes": (
        "Attenuation and dark field of lobes are measured; every tumour in them is synthetic.",
        "Lobes are dried and excised: no chest wall, heart or ribs lie over them, so there is less clutter than in a chest.",
        "A lesion replaces lung along the ray; its attenuation and scattering are the lobe's own times the stated ratios.",
        "The lobe's thickness is taken from its attenuation, scaled to the stated largest thickness.",
        "Copies of one lobe share its anatomy; they are never in two folds, and intervals resample animals.",
    ),
}
MEASURED = (
    "Images of frames, projections, volumes and cases are measured; labels are the user's, or lesions that were put in.",
    "Lesions put into a measured scan are synthetic: what real ones look like there is not known.",
)
REGION = "The network sees the search region around the lung found in the image; lesions outside it count as missed."


def report_title(kinds: Mapping[str, str]) -> str:
    """What kind of study it is, by the kinds of its sources."""
    if set(kinds.values()) == {"simulation"}:
        return "Simulated directional dark-field CT"
    if set(kinds.values()) == {"lobes"}:
        return "Measured radiographs with synthetic tumours"
    return "Simulated and measured scans" if "simulation" in kinds.values() else "Measured scans"


def assumptions_of(sources: Mapping[str, Any], kinds: Mapping[str, str], *, flawless: Mapping[str, Any]) -> tuple[str, ...]:
    """What holds for the sources of a study, each line once; `flawless` is what a simulation without flaws says of them."""
    told = [line for kind in dict.fromkeys(kinds.values()) for line in ASSUMED.get(kind, MEASURED)]
    simulated = [sources[name] for name, kind in kinds.items() if kind == "simulation"]
    beams = [line for source in simulated for line in _beams(source)]
    flaws = [line for source in simulated for line in _imperfections(source, flawless)]
    return tuple(dict.fromkeys([*told, *beams, REGION, *flaws]))


def _beams(source: Mapping[str, Any]) -> list[str]:
    """Shape of the beam at each site of a simulation."""
    own = source["scan"].get("source_axis")
    sites = [site["scan"].get("source_axis", own) for site in source["sites"].values()]
    axes = dict.fromkeys(sites or [own])
    return [
        "The beam is parallel." if far is None else f"The beam is a cone, its source {far} from the axis." for far in axes
    ]


def _imperfections(source: Mapping[str, Any], nothing: Mapping[str, Any]) -> list[str]:
    """Which flaws of a real scan were simulated and which were not."""
    on = {name.replace("_", " "): value for name, value in source["effects"].items() if value != nothing.get(name)}
    off = [name.replace("_", " ") for name in source["effects"] if name.replace("_", " ") not in on and name != "gate"]
    told = [f"Not simulated: {', '.join(off)}."] if off else []
    for name, site in source["sites"].items():
        changes = [f"{part}.{k} {v}" for part in ("instrument", "scan", "effects") for k, v in site[part].items()]
        told.append(f"Site {name}: {', '.join(changes) or 'as the source says'}.")
    return told + ([f"Simulated flaws: {', '.join(f'{k} {v}' for k, v in on.items())}."] if on else [])
