from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.errors import TamisError
from engine.history.metrics import write_metrics
from engine.history.record import Noted
from tests.history.attempts import START, attempt, failed

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(path: Path) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def of(found: Samples, name: str, command: str = "run", **labels: str) -> float | None:
    return found.get((name, tuple(sorted({"command": command, **labels}.items()))))


def test_what_a_run_tells(tmp_path: Path) -> None:
    write_metrics(tmp_path / "tamis.prom", attempt(guards=(Noted("jump", "x", held=True), Noted("empty", "y"))))
    found = samples(tmp_path / "tamis.prom")
    ended = START.timestamp() + 2
    assert of(found, "tamis_run_success") == 1
    assert of(found, "tamis_run_exit_code") == 0
    assert of(found, "tamis_run_timestamp_seconds") == ended
    assert of(found, "tamis_run_last_success_timestamp_seconds") == ended
    assert of(found, "tamis_run_as_of_timestamp_seconds") == START.replace(hour=0, minute=0).timestamp()
    assert of(found, "tamis_run_duration_seconds") == 2
    assert of(found, "tamis_run_stage_duration_seconds", stage="score") == 1.5
    assert of(found, "tamis_run_stage_duration_seconds", stage="total") is None
    assert of(found, "tamis_run_peak_memory_bytes") == 1 << 28
    assert of(found, "tamis_run_input_rows") == 1000
    assert of(found, "tamis_run_rows", outcome="rejected") == 10
    assert of(found, "tamis_run_rows", outcome="read") is None
    assert of(found, "tamis_run_users") == 80
    assert of(found, "tamis_run_segment_users", segment="warm") == 66
    assert of(found, "tamis_run_segment_users", segment='a "b" \\ c\nd') == 14
    assert of(found, "tamis_run_warnings") == 1
    assert of(found, "tamis_run_guards_held") == 1
    assert of(found, "tamis_run_task_retries") == 1


def test_names_and_units_are_those_of_prometheus(tmp_path: Path) -> None:
    write_metrics(tmp_path / "tamis.prom", attempt())
    for name, _ in samples(tmp_path / "tamis.prom"):
        assert re.fullmatch(r"tamis_run_[a-z_]+", name)
        # `_total` and `_count` are of counters and histograms; times and sizes are in base units.
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_minutes", "_mb"))
        assert not re.search(r"duration(?!_seconds$)|timestamp(?!_seconds$)|memory(?!_bytes$)", name)


def test_a_failure_keeps_the_time_of_the_last_success_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "tamis.prom"
    write_metrics(path, failed(0))
    assert of(samples(path), "tamis_run_last_success_timestamp_seconds") is None
    write_metrics(path, attempt(1))
    success = of(samples(path), "tamis_run_last_success_timestamp_seconds")
    for number in (2, 3):
        write_metrics(path, failed(number))
    found = samples(path)
    assert of(found, "tamis_run_success") == 0
    assert of(found, "tamis_run_exit_code") == 3
    assert of(found, "tamis_run_last_success_timestamp_seconds") == success == START.timestamp() + 62
    assert of(found, "tamis_run_users") is None
    write_metrics(path, attempt(4, result="skipped", exit_code=99))
    assert of(samples(path), "tamis_run_last_success_timestamp_seconds") == START.timestamp() + 242


def test_other_commands_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "tamis.prom"
    write_metrics(path, attempt(0, command="fit"))
    fit = {key: value for key, value in samples(path).items() if ("command", "fit") in key[1]}
    write_metrics(path, attempt(1))
    write_metrics(path, failed(2))
    found = samples(path)
    assert {key: value for key, value in found.items() if ("command", "fit") in key[1]} == fit
    assert of(found, "tamis_run_success") == 0


@pytest.mark.parametrize("before", [b"\xff\xfe", b"garbage\n", b'other_metric{command="fit"} 3\n', b"x" * 1000])
def test_a_file_of_somebody_else_is_replaced_whole(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "tamis.prom"
    path.write_bytes(before)
    write_metrics(path, attempt())
    assert of(samples(path), "tamis_run_success") == 1
    assert b"other_metric" not in path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["tamis.prom"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises((TamisError, OSError)):
        write_metrics(tmp_path / "no" / "tamis.prom", attempt())
    assert list(tmp_path.iterdir()) == []
