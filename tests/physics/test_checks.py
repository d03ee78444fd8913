"""Every check that docs/simulation.md lists is a test of that name."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBERS = {f"T{n}" for n in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16, 17, 19, 21)}


def test_every_listed_check_is_a_test() -> None:
    rows = re.findall(r"^\| ([\w]+) \| .* \| (tests/\S.*) \|$", (ROOT / "docs/simulation.md").read_text(), re.MULTILINE)
    assert {check for check, _ in rows} >= NUMBERS
    for check, text in rows:
        path, *names = [part.strip(", ") for part in text.split("::")]
        source = (ROOT / path).read_text()
        assert names, check
        for name in names:
            assert re.search(rf"^def {name}\(", source, re.MULTILINE), f"{check}: no {name} in {path}"
