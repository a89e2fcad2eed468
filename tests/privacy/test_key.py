from __future__ import annotations

import copy
import hmac
import pickle
import traceback
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.execution.records import UnknownValueError, encode
from engine.privacy.key import Key, KeySource, load_key

SECRET = "0f" * 32
OTHER = "a5" * 40
SOURCE = KeySource("TAMIS_TEST_KEY")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n", encoding="ascii")
    path.chmod(0o600)
    return path


def told(error: ConfigError) -> str:
    return "".join(traceback.format_exception(error)) + error.message + error.hint


def test_gd06_a_key_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    monkeypatch.setenv("TAMIS_TEST_KEY", SECRET)
    known = load_key(SOURCE)
    assert known.id == load_key(KeySource("TAMIS_TEST_KEY", str(key_file))).id
    assert load_key(SOURCE, known.id).id == known.id
    monkeypatch.setenv("TAMIS_TEST_KEY", OTHER)
    assert load_key(SOURCE).id != known.id
    with pytest.raises(ConfigError) as caught:
        load_key(SOURCE, known.id)
    assert caught.value.code == "key-other"


def test_gd06_what_is_derived_is_an_hmac_and_the_id_is_eight_digits_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_TEST_KEY", SECRET)
    key = load_key(SOURCE)
    assert key.derived("pseudonyms 1") == hmac.new(bytes.fromhex(SECRET), b"tamis pseudonyms 1", "sha256").hexdigest()
    assert key.id == hmac.new(bytes.fromhex(SECRET), b"tamis key id", "sha256").hexdigest()[:8]
    assert key.derived("a") != key.derived("b")


def test_gd06_a_key_shows_itself_to_nobody() -> None:
    key = Key(bytes.fromhex(SECRET))
    for shown in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
        assert SECRET not in shown
        assert str(bytes.fromhex(SECRET)) not in shown
        assert key.id in shown
    assert not hasattr(key, "__dict__")
    for give_away in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            give_away(key)
    with pytest.raises(UnknownValueError):
        encode(key)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "key-missing"),
        ("", "key-missing"),
        (" \n", "key-missing"),
        ("0f" * 31, "key-short"),
        (f"{SECRET} {'0f' * 8}", "key-short"),
        ("secret-word" * 9, "key-unreadable"),
        ("0f" * 32 + "0", "key-unreadable"),
    ],
)
@pytest.mark.parametrize("kind", ["environment", "file"])
def test_gd06_a_key_that_cannot_be_used_is_told_without_a_digit_of_it(
    text: str | None, code: str, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TAMIS_TEST_KEY", raising=False)
    path = tmp_path / "key"
    if text is not None:
        monkeypatch.setenv("TAMIS_TEST_KEY", text)
        path.write_text(text, encoding="ascii")
        path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        load_key(SOURCE if kind == "environment" else KeySource("TAMIS_TEST_KEY", str(path)))
    assert caught.value.code == code
    assert caught.value.hint
    assert "0f0f" not in told(caught.value)
    assert "secret-word" not in told(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_gd07_a_key_that_others_may_read_or_change_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}") as caught:
        load_key(KeySource("", str(key_file)))
    assert caught.value.code == "key-unreadable"


def test_gd06_earlier_keys_stand_behind_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_TEST_KEY", f"{OTHER}\n{SECRET}")
    key = load_key(SOURCE)
    earlier = Key(bytes.fromhex(SECRET))
    assert [key.id, key.of(earlier.id).id] == [Key(bytes.fromhex(OTHER)).id, earlier.id]
    with pytest.raises(ConfigError) as caught:
        key.of("00000000")
    assert caught.value.code == "key-other"


def test_gd06_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_key(KeySource("", str(tmp_path)))
    assert caught.value.code == "key-unreadable"


def test_gd06_children_get_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.privacy.key import child_environment, without_keys

    key, plain = "0f" * 32, {"PATH": "/bin", "COMMIT": "ab" * 20, "EMPTY": "", "WORDS": "a b"}
    given = {**plain, "TAMIS_KEY": key, "SHOP": f"{key} {key}"}
    assert without_keys(given, "SHOP") == plain
    assert without_keys(given) == plain
    # What is named is known: a hash of 64 digits that is no key stays.
    assert without_keys({"DIGEST": key}, "SHOP") == {"DIGEST": key}
    monkeypatch.setenv("TAMIS_KEY", "no key at all")
    monkeypatch.setenv("SHOP", key)
    assert not {"TAMIS_KEY", "SHOP"} & child_environment().keys()


def test_gd06_the_child_that_opens_files_gets_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.events.probe import ask_child

    monkeypatch.setenv("TAMIS_KEY", "0f" * 32)
    script = tmp_path / "child.py"
    script.write_text(
        "import os, sys\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "print('TAMIS_KEY' in os.environ, flush=True)\n",
        encoding="utf-8",
    )
    assert list(ask_child(str(script), ["?"], [10.0])) == ["False\n"]
