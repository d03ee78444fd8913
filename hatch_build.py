"""The volume viewer of pages: fetched once from npm, and put into wheels where npm can be reached.

``python hatch_build.py`` (``make viewer``) fetches it into the checkout; a wheel is built with it where npm can be reached.
Nothing of it is in the repository. The file is known by its hash, so that no other one can take its place.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, MEMBER = "@niivue/niivue@0.69.0", "package/dist/niivue.umd.js"
SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
PLACE = Path(__file__).parent / "src" / "darklung" / "report" / "niivue.js"
NOTICE = Path(__file__).parent / "src" / "darklung" / "report" / "niivue_licence.txt"


def fetch() -> str:
    """Put the viewer where pages take it from; a sentence that says what came of it.

    Raises
    ------
    RuntimeError
        npm is missing or failed, or the file is another one.
    """
    if PLACE.is_file() and _digest(PLACE.read_bytes()) == SHA256:
        return f"{PLACE.name} is there already"
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm is needed to fetch the volume viewer; pages have static slices without it")
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", PACKAGE], cwd=folder, capture_output=True, text=True, check=False
        )
        if packed.returncode:
            raise RuntimeError(f"npm pack {PACKAGE}: {(packed.stderr.strip().splitlines() or ['failed'])[-1]}")
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            member = tar.extractfile(MEMBER)
            text = member.read() if member else b""
    if _digest(text) != SHA256:
        raise RuntimeError(f"{PACKAGE}: wanted {MEMBER} of SHA-256 {SHA256}, got {_digest(text)}")
    PLACE.write_bytes(text)
    return f"{PACKAGE} is in {PLACE.name}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get_build_hook():  # hatchling is there in a build alone
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class ViewerHook(BuildHookInterface):
        """Fetches the viewer for wheels; an editable install takes what ``make viewer`` fetched."""

        def initialize(self, version: str, build_data: dict) -> None:
            if version == "editable":
                return
            try:
                self.app.display_info(fetch())
            except RuntimeError as error:
                self.app.display_warning(f"without volume viewer: {error}")

    return ViewerHook


if __name__ == "__main__":
    try:
        print(fetch())  # noqa: T201
    except RuntimeError as error:
        sys.exit(str(error))
