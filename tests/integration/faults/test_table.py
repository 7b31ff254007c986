"""The table of faults and the tests name each other."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
TABLE = (REPOSITORY / "deploy" / "FAULTS.md").read_text(encoding="utf-8")


def names_in(folder: Path) -> set[str]:
    files = [file for file in folder.rglob("test_*.py") if file != Path(__file__)]
    return {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.M)}


def test_every_test_that_the_table_names_exists() -> None:
    assert set(re.findall(r"`(test_\w+)`", TABLE)) <= names_in(HERE)
    files = set(re.findall(r"`([\w/]*test_\w+\.py)`", TABLE))
    assert files
    assert [name for name in files if not ((REPOSITORY if "/" in name else HERE) / name).is_file()] == []


def test_every_test_of_a_fault_stands_in_the_table() -> None:
    untold = names_in(HERE) - set(re.findall(r"`(test_\w+)`", TABLE))
    by_file = {"test_http_fuzz.py", "test_steady_load.py"} & set(re.findall(r"`(test_\w+\.py)`", TABLE))
    told = {
        name
        for file in by_file
        for name in re.findall(r"^def (test_\w+)", (HERE / file).read_text(encoding="utf-8"), re.M)
    }
    assert untold - told == set()
