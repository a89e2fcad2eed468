from __future__ import annotations

import ast
import configparser
import re
import runpy
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from engine.errors import ExitCode
from jobs.app import app

CONFIGS = Path(__file__).parents[2] / "configs" / "schedule"
UNITS = ("tamis.service", "tamis.timer", "tamis-failed@.service")
NOTE = '#!/bin/sh\nprintf "%s\\n" "$*" >> "{notes}"\n'


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A program in the place of Tamis, which notes how it was called."""
    program = tmp_path / "tamis"
    program.write_text(NOTE.format(notes=tmp_path / "notes"), encoding="utf-8")
    program.chmod(0o755)
    return program


def called(command: str, stand_in: Path) -> list[list[str]]:
    replaced = command.replace("/opt/tamis/bin/tamis", str(stand_in)).replace("/srv/tamis", str(stand_in.parent))
    subprocess.run(["/bin/sh", "-c", replaced], check=True, cwd=stand_in.parent)
    notes = stand_in.parent / "notes"
    lines = [line.split() for line in notes.read_text(encoding="utf-8").splitlines()]
    notes.unlink()
    return lines


def check_options(words: list[str]) -> None:
    """The command line can be read: what is wrong is the date, or that there is no such file."""
    result = CliRunner().invoke(app, words)
    assert re.match(r"error\[(config-not-found|as-of-invalid|day-invalid)\]", result.stderr), result.stderr


def days_in_paris(before: datetime, after: datetime) -> set[str]:
    return {moment.astimezone(ZoneInfo("Europe/Paris")).date().isoformat() for moment in (before, after)}


# ---------------------------------------------------------------------------------------------------------------- cron


def cron_line() -> str:
    """The one line of cron that runs something."""
    text = (CONFIGS / "tamis.cron").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line and line[0] in "0123456789*"]
    return line


def test_cron_gives_the_day_of_the_zone(stand_in: Path) -> None:
    minute, hour, *others, user, command = cron_line().split(maxsplit=6)
    assert (int(minute), others, user) == (30, ["*", "*", "*"], "tamis")
    assert 3 < int(hour) < 24
    # A bare percent sign would end the command; cron takes the backslash away.
    assert not re.search(r"(?<!\\)%", command)
    before = datetime.now(UTC)
    run, backfill = called(command.replace("\\%", "%"), stand_in)
    days = days_in_paris(before, datetime.now(UTC))
    assert run[:4] == ["run", "-c", "tamis.toml", "--as-of"]
    assert run[4] in days
    assert backfill[backfill.index("--to") + 1] in days
    for words in (run, backfill):
        check_options(words)


# -------------------------------------------------------------------------------------------------------------- systemd


class Repeated(dict[str, str]):
    """Keys of a unit that stand there more than once, one line each."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self and isinstance(value, list):
            self[key].extend(value)  # type: ignore[attr-defined]
        else:
            super().__setitem__(key, value)


def unit(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((CONFIGS / name).read_text(encoding="utf-8"))
    return parser


def test_the_units_are_what_systemd_reads(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    for name in UNITS:
        shutil.copy(CONFIGS / name, tmp_path)
    for name in UNITS:
        assert verified(analyze, tmp_path / name) == ""
    # It would have said so.
    service = tmp_path / "tamis.service"
    service.write_text(service.read_text(encoding="utf-8") + "MemoryMost=8G\n", encoding="utf-8")
    assert "MemoryMost" in verified(analyze, service)


def verified(analyze: str, file: Path) -> str:
    done = subprocess.run(
        [analyze, "verify", f"./{file.name}"], cwd=file.parent, capture_output=True, text=True, check=False
    )
    return done.stderr + done.stdout


def test_the_service_gives_the_day_of_the_zone(stand_in: Path) -> None:
    commands = unit("tamis.service")["Service"]["ExecStart"].split("\n")
    before = datetime.now(UTC)
    lines = []
    for command in commands:
        match = re.fullmatch(r"/bin/sh -c '(.*)'", command)
        assert match is not None
        # What systemd makes of doubled signs; a single one would be a variable or a specifier of its own.
        assert not re.search(r"(?<!\$)\$(?!\$)|(?<!%)%(?!%)", match[1].replace("$$", "").replace("%%", ""))
        lines += called(match[1].replace("$$", "$").replace("%%", "%"), stand_in)
    run, backfill = lines
    days = days_in_paris(before, datetime.now(UTC))
    assert run[run.index("--as-of") + 1] in days
    assert backfill[backfill.index("--to") + 1] in days
    for words in lines:
        check_options(words)


def test_the_service_tries_again_what_another_try_may_mend() -> None:
    service = unit("tamis.service")["Service"]
    prevented = {int(code) for code in service["RestartPreventExitStatus"].split()}
    tried = {int(code) for code in ExitCode} - prevented - {0}
    assert tried == {ExitCode.CONFLICT, ExitCode.TRANSIENT}
    assert service["Restart"] == "on-failure"
    assert (service["KillSignal"], service["TimeoutStopSec"]) == ("SIGTERM", "90")
    assert {"Nice", "MemoryMax", "ProtectSystem", "ReadWritePaths"} <= set(service)
    assert unit("tamis.service")["Unit"]["OnFailure"] == "tamis-failed@%n.service"


@pytest.mark.parametrize("moment", ["2026-03-29", "2026-10-25"])
def test_no_hour_of_summer_time_is_chosen(moment: str) -> None:
    """The times of the timer and of cron are there once on the days on which the clock is changed."""
    calendar = unit("tamis.timer")["Timer"]["OnCalendar"]
    time, zone = re.fullmatch(r"\*-\*-\* (\d\d:\d\d):00 (\S+)", calendar).groups()  # type: ignore[union-attr]
    minute, hour, _ = cron_line().split(maxsplit=2)
    for text in (time, f"{int(hour):02}:{int(minute):02}"):
        local = datetime.fromisoformat(f"{moment}T{text}").replace(tzinfo=ZoneInfo(zone))
        assert local.astimezone(UTC).astimezone(ZoneInfo(zone)) == local
        assert local.replace(fold=1).utcoffset() == local.replace(fold=0).utcoffset()


# -------------------------------------------------------------------------------------------------------------- Airflow


class Skipped(Exception):  # noqa: N818 - as Airflow calls its own
    pass


class Retried(Exception):  # noqa: N818 - as Airflow calls its own
    pass


class Failed(Retried):
    pass


class Operator:
    made: list[Any] = []  # noqa: RUF012 - what a DAG has

    def __init__(self, **others: Any) -> None:
        self.others = others
        Operator.made.append(self)

    def __rshift__(self, other: Any) -> None:
        self.before = other


class Dag:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class Hook:
    code = 0
    commands: list[list[str]] = []  # noqa: RUF012 - what was run

    def run_command(self, command: list[str]) -> SimpleNamespace:
        Hook.commands.append(command)
        return SimpleNamespace(exit_code=Hook.code)


@pytest.fixture
def dag(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The file of the DAG, run with the few names of Airflow that it uses."""
    names: dict[str, dict[str, Any]] = {
        "pendulum": {"datetime": lambda *parts, tz: datetime(*parts, tzinfo=ZoneInfo(tz))},
        "airflow": {},
        "airflow.exceptions": {
            "AirflowException": Retried,
            "AirflowFailException": Failed,
            "AirflowSkipException": Skipped,
        },
        "airflow.providers": {},
        "airflow.providers.standard": {},
        "airflow.providers.standard.hooks": {},
        "airflow.providers.standard.hooks.subprocess": {"SubprocessHook": Hook},
        "airflow.sdk": {"DAG": Dag, "BaseOperator": Operator},
    }
    for name, content in names.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    Operator.made, Hook.commands = [], []
    return runpy.run_path(str(CONFIGS / "airflow_dag.py"))


def test_the_dag_calls_for_the_end_of_the_interval_and_then_for_late_data(dag: dict[str, Any]) -> None:
    run, late = Operator.made
    assert run.before is late
    assert late.others["trigger_rule"] == "none_failed"
    assert dag["dag"].settings["catchup"] is False
    assert dag["dag"].settings["max_active_runs"] == 1
    for operator in (run, late):
        check_options(operator.arguments)
    assert run.arguments[run.arguments.index("--as-of") + 1] == dag["AS_OF"]
    assert run.arguments[run.arguments.index("--noop-exit-code") + 1] == "99"


@pytest.mark.parametrize(
    ("end", "given", "expected"),
    [
        # Midnight in Paris is the day before in UTC, in winter and in summer.
        (datetime(2026, 1, 31, 23, 0, tzinfo=UTC), "", "2026-02-01"),
        (datetime(2026, 6, 30, 22, 0, tzinfo=UTC), "", "2026-07-01"),
        (datetime(2026, 7, 1, 2, 30, tzinfo=UTC), "", "2026-07-01"),
        (datetime(2026, 7, 1, 2, 30, tzinfo=UTC), "2026-01-31", "2026-01-31"),
        (None, "", "2026-07-02"),
    ],
)
def test_the_date_of_the_dag(dag: dict[str, Any], end: datetime | None, given: str, expected: str) -> None:
    jinja2 = pytest.importorskip("jinja2")

    class Pendulum(datetime):
        def in_timezone(self, zone: ZoneInfo) -> datetime:
            return self.astimezone(zone)

    def pendulum(moment: datetime) -> Pendulum:
        return Pendulum.fromtimestamp(moment.timestamp(), UTC)

    context = {
        "params": SimpleNamespace(as_of=given),
        "data_interval_end": None if end is None else pendulum(end),
        "dag_run": SimpleNamespace(run_after=pendulum(datetime(2026, 7, 2, 2, 30, tzinfo=UTC))),
        "dag": SimpleNamespace(timezone=ZoneInfo(dag["ZONE"])),
    }
    assert jinja2.Template(dag["AS_OF"]).render(context) == expected


@pytest.mark.parametrize("code", [*ExitCode, 99])
def test_the_exit_codes_of_the_dag(dag: dict[str, Any], code: int) -> None:
    Hook.code = int(code)
    operator = Operator.made[0]
    if code == 0:
        operator.execute({})
        assert Hook.commands == [[dag["TAMIS"], *operator.arguments]]
        return
    expected = {99: Skipped, ExitCode.CONFLICT: Retried, ExitCode.TRANSIENT: Retried}.get(code, Failed)
    with pytest.raises(Retried if expected is not Skipped else Skipped, match=f"exit code {int(code)}$") as caught:
        operator.execute({})
    assert caught.type is expected


def test_the_dag_imports_what_it_needs_and_no_more() -> None:
    tree = ast.parse((CONFIGS / "airflow_dag.py").read_text(encoding="utf-8"))
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module).partition(".")[0])
    assert roots - set(sys.stdlib_module_names) == {"airflow", "pendulum"}


def test_the_wait_for_the_lock_is_shorter_than_the_limit_of_the_service() -> None:
    service = unit("tamis.service")["Service"]
    hours = int(re.fullmatch(r"(\d+)h", service["TimeoutStartSec"])[1])  # type: ignore[index]
    waits = [int(seconds) for seconds in re.findall(r"--wait-for-lock (\d+)", service["ExecStart"])]
    assert timedelta(seconds=sum(waits)) < timedelta(hours=hours)
