from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Measurement, run_measured, table, write_result

MEBIBYTE = 2**20


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_wall_time_and_output() -> None:
    done = run_measured("nap", python("import time; time.sleep(0.4); print('done')"))
    assert done.stdout == "done\n"
    assert done.measurement.what == "nap"
    assert 0.4 <= done.measurement.seconds < 5


def test_a_short_peak_is_seen() -> None:
    code = f"x = bytearray({300 * MEBIBYTE}); x[::4096] = b'1' * len(x[::4096]); del x; import time; time.sleep(0.3)"
    assert 300 < run_measured("peak", python(code)).measurement.peak_mb < 360


@pytest.mark.skipif(sys.platform != "linux", reason="the tree of processes is read from /proc")
def test_memory_of_children_counts() -> None:
    hold = f"x = b'1' * {100 * MEBIBYTE}"
    child = f"{hold}; import time; time.sleep(0.8)"
    code = f"import subprocess, sys; {hold}; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert 200 < run_measured("family", python(code)).measurement.peak_mb < 260


def test_variables_are_added() -> None:
    code = "import os; print(os.environ['COLOUR'], 'PATH' in os.environ)"
    assert run_measured("env", python(code), env={"COLOUR": "red"}).stdout == "red True\n"


def test_a_failure_says_what_and_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)broken ended with 3: .*the reason"):
        run_measured("broken", python("import sys; print('the reason', file=sys.stderr); sys.exit(3)"))


def test_result_has_the_common_form(tmp_path: Path) -> None:
    path = write_result(
        "some",
        size={"users": 2},
        measurements=[Measurement("a", 1.5, 10.0)],
        ratios={"r": 0.5},
        folder=tmp_path / "new",
    )
    result = json.loads(path.read_text())
    assert path == tmp_path / "new" / "some.json"
    assert list(result) == ["name", "date", "versions", "size", "measurements", "ratios"]
    assert result["measurements"] == [{"what": "a", "seconds": 1.5, "peak_mb": 10.0}]
    assert (result["name"], result["size"], result["ratios"]) == ("some", {"users": 2}, {"r": 0.5})
    assert {"python", "platform", "cpus", "polars"} <= set(result["versions"])


def test_table_lists_measurements_and_ratios() -> None:
    text = table([Measurement("a", 1234.56, 10.4)], {"time_vs_script": 0.5})
    assert "| a | 1,234.6 | 10 |" in text
    assert "| time_vs_script | 0.50 |" in text
