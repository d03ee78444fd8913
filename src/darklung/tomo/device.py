"""Where a method's projections are computed: numba on the CPU, or torch on a GPU, which is loaded only then."""

from __future__ import annotations

from darklung.core.checks import check_one_of, require
from darklung.core.extras import installed, require_extra

DEVICES = ("auto", "cpu", "cuda", "torch-cpu")


def find_device(wanted: str, *, analytic_cone: bool = False) -> tuple[str, str]:
    """The device that computes, ``"cpu"`` (numba), ``"cuda"`` or ``"torch-cpu"``, and what the record says of it.

    Parameters
    ----------
    wanted : {"auto", "cpu", "cuda", "torch-cpu"}
        "auto" is CUDA where there is a device, else the CPU. "torch-cpu" computes on the CPU what a GPU would, for tests.
    analytic_cone : bool
        For filtered back-projection in a cone beam, which has no GPU path.

    Raises
    ------
    DarklungError
        Another word, a device that wants torch where it is not installed, or "cuda" where torch finds no device or where
        there is no GPU path.
    """
    check_one_of("device", wanted, DEVICES)
    if wanted == "cpu":
        return "cpu", "cpu"
    if analytic_cone:
        told = f"device: filtered back-projection in a cone beam is computed on the cpu, got {wanted!r}; wanted cpu or auto"
        require(wanted == "auto", told)
        return "cpu", "cpu: filtered back-projection in a cone beam has no GPU path"
    if wanted == "auto" and not installed("torch"):
        return "cpu", "cpu: torch, which would find a GPU, is not installed"
    require_extra(f"device {wanted}", "torch")
    if wanted == "torch-cpu":
        return wanted, "torch on the cpu"
    from darklung.tomo.torch_operator import cuda_name

    name = cuda_name()
    if name:
        return "cuda", f"cuda: {name}"
    require(wanted == "auto", "device: torch finds no CUDA device on this machine; wanted cpu or auto, got 'cuda'")
    return "cpu", "cpu: torch finds no CUDA device"
