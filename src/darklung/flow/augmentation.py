"""Whether the images that a study trains on tell what its physical augmentations need."""

from __future__ import annotations

from collections.abc import Sequence

from darklung.core.channel import Channel, errors_of
from darklung.core.checks import require
from darklung.flow.expected import Expected, noise_hint
from darklung.learn.rescan import PER_METRE, is_measured, why_no_beam
from darklung.learn.settings import AugmentationPart
from darklung.study.learning import LearningPart
from darklung.study.sources import CasesSource, VolumesSource
from darklung.study.study import Study

WHERE = "learning.training.augmentation"


def check_augmentation(study: Study, learning: LearningPart, images: Sequence[Expected]) -> None:
    """Refuse what training would refuse of its first case, and noise that is not what its channel says.

    Raises
    ------
    DarklungError
        One line with the setting, the channel and the image.
    """
    part = learning.training.augmentation
    if not part.rescans:
        return
    change = f"{WHERE}.{part.rescans[0]}"
    for image in images:
        own = not isinstance(study.sources[image.source], CasesSource)
        resampled = f"{change}: noise of resampled volumes ({image.told}) is correlated otherwise than any texture"
        require(not own or study.processing.voxel is None, f"{resampled}; wanted no processing.voxel")
        for name in dict.fromkeys(n for channels in learning.arms.values() for n in channels if is_measured(n)):
            told = errors_of(name, tuple(image.channels or ()))
            error = Channel.parse(name).noise().name
            lack = f"{change}: the noise of {name!r} ({error}) will not be among the channels of {image.told}"
            require(bool(told), f"{lack}{noise_hint(error, study.processing.reconstruction)}")
            unit = (image.channels or {}).get(name, PER_METRE)
            reason = why_no_beam(part, name, unit, known=None not in (image.energy_kev, image.correlation_length_m))
            require(not reason, f"{WHERE}.{reason} ({image.told})")
        if own and not isinstance(study.sources[image.source], VolumesSource):
            _check_texture(study, part)


def _check_texture(study: Study, part: AugmentationPart) -> None:
    """The filter is that of the study's own back-projection."""
    options, place = study.processing.reconstruction.options, "processing.reconstruction.options"
    used = options.get("filter", "ramp")
    told = f"{WHERE}.texture: wanted {used!r}, the filter of {place}, or 'white', got {part.texture!r}"
    require(part.texture in (used, "white"), told)
    cutoff = float(options.get("cutoff", 1.0))
    told = f"{WHERE}.texture: of a cutoff of {cutoff:g} ({place}) the correlation is not known; wanted 'white', or cutoff: 1"
    require(part.texture == "white" or cutoff == 1.0, told)
