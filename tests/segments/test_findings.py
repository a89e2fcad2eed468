from __future__ import annotations

import pytest

from engine.config import Guards
from engine.errors import ConfigError, ExitCode
from engine.segments.definition import Definition
from engine.segments.findings import GUARDS, Finding, Findings, check_accepted, held_error

DEFINITIONS = (
    Definition("vip", "rule", "primary", where="x", campaigns=("noe\u0308l",)),
    Definition("a: b", "rule", None, where="x"),
)


def test_each_guard_is_a_key_of_the_configuration() -> None:
    actions = [name for name, value in Guards().model_dump().items() if value in {"off", "warn", "hold"}]
    assert list(GUARDS) == actions


@pytest.mark.parametrize("entry", ["jump", "jump:vip", " jump : vip ", "empty:a: b", "campaign:noël", "unassigned"])
def test_what_exists_can_be_accepted(entry: str) -> None:
    check_accepted([entry], DEFINITIONS)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("jmp", "no guard 'jmp' (did you mean 'jump'?)"),
        ("", "no guard ''"),
        ("vip", "no guard 'vip'"),
        ("jump:vpi", "no segment 'vpi' (did you mean 'vip'?)"),
        ("campaign:vip", "no campaign 'vip'"),
        ("jump:noël", "no segment 'noël'"),
        ("jump: ", "'jump: ': no name behind the colon"),
    ],
)
def test_what_does_not_exist_is_named(entry: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_accepted(["jump", entry, "nonsense"], DEFINITIONS)
    assert refused.value.code == "accept-unknown"
    assert told in refused.value.message
    assert "nonsense" in refused.value.message


def test_a_held_run_says_what_was_found_and_how_to_accept_it() -> None:
    findings = Findings(
        (
            Finding("jump", ("it's",), "'it's': 120 users"),
            Finding("empty", ("b",), "nobody is in 'b'"),
            *(Finding("overlap", ("a", f"s{number}"), f"pair {number}") for number in range(25)),
        ),
        (),
    )
    error = held_error(findings)
    assert (error.code, error.exit_code) == ("publish-held", ExitCode.HELD)
    lines = error.message.splitlines()
    assert lines[1:3] == ["  jump: 'it's': 120 users", "  empty: nobody is in 'b'"]
    assert lines[-1] == "  overlap: 5 more"
    assert "--accept jump --accept empty --accept overlap" in error.hint
    assert "--accept 'jump:it'\"'\"'s'" in error.hint


def test_a_finding_about_all_users_is_accepted_as_a_whole() -> None:
    error = held_error(Findings((Finding("unassigned", (), "480 of 1000 users"),), ()))
    assert "--accept unassigned;" in error.hint
    assert "alone" not in error.hint
