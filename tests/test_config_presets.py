from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from engine.config import Events, Param, Source, Sql
from engine.config_file import LoadedConfig, config_hash, load_config
from engine.config_presets import preset_names
from engine.errors import ConfigError
from engine.events.checks import optional_types
from engine.shipped import shipped_configs

WEB = '[[sources]]\nname = "web"\npath = "web"\npreset = "ga4"\n'


def load(folder: Path, text: str, *overrides: tuple[str, object]) -> LoadedConfig:
    (folder / "tamis.toml").write_text(text, encoding="utf-8")
    return load_config(folder / "tamis.toml", overrides=overrides)


def test_a_preset_gives_what_the_file_does_not_say(tmp_path: Path) -> None:
    loaded = load(tmp_path, WEB)
    [source] = loaded.config.sources
    assert source.time_unit == "us"
    assert source.columns.user_id == "user_id"
    assert source.columns.page == Param(param="page_location")
    assert loaded.config.events.purchase == "purchase"
    assert loaded.origins["sources.web.columns.page"] == "preset ga4"
    assert loaded.origins["sources.web.time_unit"] == "preset ga4"
    assert loaded.origins["events.purchase"] == "preset ga4"
    assert loaded.origins["events.send"] == "default"
    assert loaded.origins["sources.web.preset"] == f"{tmp_path / 'tamis.toml'}:4"
    assert loaded.values["sources.web.columns.page"] == {
        "param": "page_location",
        "of": "event_params",
        "type": "string",
    }


def test_keys_of_the_user_win(tmp_path: Path) -> None:
    text = f'{WEB}[sources.columns]\npage = "url"\namount = {{ sql = "1.5" }}\n[events]\npurchase = "order"\n'
    loaded = load(tmp_path, text, ("sources.web.columns.channel", "medium"))
    columns = loaded.config.sources[0].columns
    assert (columns.page, columns.amount, columns.channel) == ("url", Sql(sql="1.5"), "medium")
    assert columns.user_id == "user_id"
    assert loaded.config.events.purchase == "order"
    assert loaded.config.events.refund == "refund"
    assert loaded.origins["sources.web.columns.page"] == f"{tmp_path / 'tamis.toml'}:6"
    assert loaded.origins["sources.web.columns.channel"] == "command line"


def test_keys_of_a_preset_are_switched_off_by_an_empty_text(tmp_path: Path) -> None:
    loaded = load(tmp_path, f'{WEB}[sources.columns]\npage = ""\n[events]\npurchase = ""\n')
    assert loaded.config.sources[0].columns.page is None
    assert loaded.config.events.purchase is None
    assert loaded.origins["events.purchase"] == "default"


def test_roles_follow_the_listed_event_types(tmp_path: Path) -> None:
    loaded = load(tmp_path, f'{WEB}[events]\ntypes = ["purchase", "login"]\n')
    assert loaded.config.events == Events(types=("purchase", "login"), purchase="purchase", optional=("purchase",))


def test_roles_of_a_preset_are_optional(tmp_path: Path) -> None:
    loaded = load(tmp_path, f'{WEB}[events]\npurchase = "order"\noptional = ["click"]\n')
    assert loaded.config.events.optional == ("click", "page_view", "refund", "cart_add", "cart_remove")
    assert optional_types(loaded.config.events) == ("page_view", "add_to_cart", "remove_from_cart", "refund")
    with pytest.raises(ConfigError, match="optional: no role 'clicks'; there are purchase, send"):
        load(tmp_path, f'{WEB}[events]\noptional = ["clicks"]\n')


def test_several_presets(tmp_path: Path) -> None:
    loaded = load(tmp_path, f'{WEB}[[sources]]\nname = "mail"\npath = "mail"\npreset = "sendgrid"\n')
    assert loaded.origins["sources.mail.columns.machine"] == "preset sendgrid"
    assert (loaded.config.events.purchase, loaded.config.events.send) == ("purchase", "email_delivered")


def test_a_preset_from_the_command_line(tmp_path: Path) -> None:
    text = '[[sources]]\nname = "web"\npath = "web"\n'
    assert load(tmp_path, text, ("sources.web.preset", "brevo")).config.sources[0].time_unit == "s"


def test_the_hash_is_that_of_the_merged_configuration(tmp_path: Path) -> None:
    plain = load(tmp_path, WEB)
    assert config_hash(plain.config) == config_hash(load(tmp_path, f'{WEB}time_unit = "us"\n').config)
    assert config_hash(plain.config) != config_hash(load(tmp_path, f'{WEB}time_unit = "ms"\n').config)


def test_a_preset_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, WEB.replace("ga4", "ga3") + WEB.replace("ga4", "zzz").replace("web", "x"))
    assert caught.value.code == "config-invalid"
    assert "line 4: sources.web.preset: no preset 'ga3' (did you mean 'ga4'?)" in caught.value.message
    assert f"line 8: sources.x.preset: no preset 'zzz' (there are: {', '.join(preset_names())})" in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["sources = 1\n", "sources = [1]\n", "[[sources]]\npreset = 5\n", f"events = 1\n{WEB}", f"{WEB}columns = 1\n"],
)
def test_tables_that_are_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.code == "config-invalid"


def test_a_mistake_behind_a_preset_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'{WEB}clock = "skew"\n')
    assert "sources.web: clock = 'skew' needs columns.received_time" in caught.value.message


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_has_keys_that_exist_and_says_what_it_is(name: str) -> None:
    text = (shipped_configs() / "sources" / f"{name}.toml").read_text(encoding="utf-8")
    preset = tomllib.loads(text)
    assert text.startswith("# ")
    assert preset.keys() <= {"source", "events"}
    Source.model_validate_json(json.dumps({"name": "x", "path": "x", **preset["source"]}), strict=True)
    Events.model_validate(preset.get("events", {}))
    page = (Path(__file__).parents[1] / "docs" / "sources.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page
