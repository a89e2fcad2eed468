from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.bundle import Bundle, bundle_files, bundle_id, load_bundle
from engine.bundle_store import check_whole, write_bundle
from engine.config import Rfm, RfmCell
from engine.errors import ConfigError, IntegrityError, TamisError
from engine.propensity.predict import load_scorer, predict
from engine.segments.rfm_maps import segment_table
from engine.segments.rfm_scores import BinEdges, RfmEdges
from tests.bundles import DAY, bundle, full_bundle, model, rows
from tests.samples import files

FILES = [
    "bundle.json",
    "clusters.json",
    "drift.json",
    "files.json",
    "targets/buys/card.md",
    "targets/buys/model.json",
    "targets/buys/model.txt",
    "value.json",
]


@pytest.fixture(scope="module")
def full() -> Bundle:
    return full_bundle()


@pytest.fixture
def written(full: Bundle, tmp_path: Path) -> Path:
    """A bundle of its own for tests that damage it."""
    return write_bundle(full, tmp_path / "staging", tmp_path / "out")


@pytest.mark.parametrize("make", [full_bundle, bundle, lambda: bundle(models=(model("second"), model("first")))])
def test_what_is_written_is_what_is_read(make: Callable[[], Bundle], tmp_path: Path) -> None:
    original = make()
    folder = write_bundle(original, tmp_path / "staging", tmp_path / "out")
    assert load_bundle(folder) == original
    assert check_whole(folder) == original
    assert bundle_files(load_bundle(folder)) == {name: data.decode() for name, data in files(folder).items()}


def with_own_map(bins: int) -> Bundle:
    rfm = Rfm(segment_map="own", bins=bins, map=(RfmCell(name="été", r=(1, 1)),), others="hiver")
    edges = BinEdges("cuts", (1, 20))
    return bundle(segment_map="own", own_map=tuple(segment_table(rfm).items()), rfm_edges=RfmEdges(edges, edges, edges))


def test_an_rfm_map_of_ones_own_is_part_of_the_bundle(tmp_path: Path) -> None:
    original = with_own_map(3)
    read = load_bundle(write_bundle(original, tmp_path / "staging", tmp_path / "out"))
    assert read == original
    assert len(read.segment_table) == 27
    assert (read.segment_table[133], read.segment_table[211]) == ("été", "hiver")


def test_a_map_of_other_scores_than_the_edges_is_refused(tmp_path: Path) -> None:
    for number, made in enumerate((with_own_map(4), replace(with_own_map(3), segment_map="rf_10", own_map=()))):
        with pytest.raises(IntegrityError, match="is not made of the scores of the edges") as caught:
            load_bundle(write_bundle(made, tmp_path / f"staging{number}", tmp_path / f"out{number}"))
        assert caught.value.code == "bundle-parts"


def test_the_files_of_a_bundle_and_its_name(written: Path) -> None:
    assert sorted(files(written)) == FILES
    listing = (written / "files.json").read_bytes()
    assert written.name == bundle_id(written) == hashlib.sha256(listing).hexdigest()[:12]
    assert sorted(json.loads(listing)) == sorted(set(FILES) - {"files.json"})
    for name, checksum in json.loads(listing).items():
        assert hashlib.sha256((written / name).read_bytes()).hexdigest() == checksum
    meta = json.loads((written / "bundle.json").read_text())
    assert meta["format"] == 3
    assert meta["as_of"] == DAY.isoformat()
    assert set(meta["versions"]) == {"tamis", "polars", "lightgbm", "polars-hash"}
    assert (written / "targets/buys/card.md").read_text().startswith("# Model card: `buys`\n")


def test_the_same_bundle_has_the_same_bytes_in_another_place(written: Path, full: Bundle, tmp_path: Path) -> None:
    other = write_bundle(full, tmp_path / "again", tmp_path / "elsewhere")
    assert files(written) == files(other)
    assert written.name == other.name


# -------------------------------------------------------------------------------------------------------------- damages


def damage_model(folder: Path) -> None:
    text = (folder / "targets/buys/model.txt").read_text()
    (folder / "targets/buys/model.txt").write_text(text.replace("leaf_value=", "leaf_value=9", 1))


def rename_target(folder: Path) -> None:
    (folder / "targets/buys").rename(folder / "targets/sells")


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (damage_model, "changed: targets/buys/model.txt"),
    (rename_target, "missing: targets/buys/model.json"),
    (lambda folder: (folder / "clusters.json").unlink(), "missing: clusters.json"),
    (lambda folder: (folder / "bundle.json").write_bytes(b""), "changed: bundle.json"),
    (lambda folder: (folder / "targets/buys/card.md").write_text("A good model."), "changed: targets/buys/card.md"),
    (lambda folder: (folder / "drift.json").write_text("{}"), "changed: drift.json"),
    (lambda folder: (folder / "value.json").write_text("{}"), "changed: value.json"),
    (lambda folder: (folder / "evil.pkl").write_bytes(b"x"), "not part of it: evil.pkl"),
    (lambda folder: (folder / "targets/.hidden").write_bytes(b"x"), "not part of it: targets/.hidden"),
    (lambda folder: (folder / "files.json").write_bytes(b"{"), "files.json: JSONDecodeError"),
    (lambda folder: (folder / "files.json").write_bytes(b'{"\xff"}'), "files.json: UnicodeDecodeError"),
    (lambda folder: (folder / "files.json").write_text("[]"), "files.json: AttributeError"),
    (lambda folder: (folder / "files.json").write_text("[" * 100_000), "files.json: RecursionError"),
]


@pytest.mark.parametrize(("damage", "named"), DAMAGES)
def test_a_damaged_bundle_is_refused_with_the_file_named(
    damage: Callable[[Path], object], named: str, written: Path
) -> None:
    damage(written)
    with pytest.raises(IntegrityError) as caught:
        load_bundle(written)
    assert caught.value.code == "bundle-damaged"
    assert named in caught.value.message
    assert str(written) in caught.value.message
    assert "tamis fit" in caught.value.hint


def sign(folder: Path, *, moved: bool = True) -> Path:
    """The bundle with checksums that fit its files, as someone else's bundle would have them: under another name."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    listing = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if name != "files.json"
    }
    (folder / "files.json").write_text(json.dumps(listing))
    return folder.rename(folder.with_name("copy")) if moved else folder


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / name).read_bytes())
    change(content)
    (folder / name).write_text(json.dumps(content))


def test_checksums_that_were_made_to_fit_are_those_of_another_bundle(written: Path) -> None:
    edit(written, "bundle.json", lambda meta: meta.update(engagement_full_at=5))
    sign(written, moved=False)
    with pytest.raises(IntegrityError) as caught:
        load_bundle(written)
    assert caught.value.code == "bundle-damaged"
    assert f"files.json: is of the bundle {bundle_id(written)}" in caught.value.message
    # Under no name in particular it is a bundle as good as any.
    assert load_bundle(written.rename(written.with_name("mine"))).engagement_full_at == 5


_NOTHING: dict[str, object] = {name: [] for name in ("windows", "weights", "types", "families", "columns")}


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"format": 1}, "bundle-version", "format 1, expected 3"),
        ({"format": 4, "versions": {}}, "bundle-version", "format 4, expected 3"),
        ({"versions": {"polars": "0.1.0", "lightgbm": "4.0"}}, "bundle-version", "polars 0.1.0, installed is"),
        ({"versions": {"polars": "2.0", "lightgbm": "99.1"}}, "bundle-version", "lightgbm 99.1, installed is"),
        ({"versions": {"polars": "9", "lightgbm": "99"}}, "bundle-version", "polars 9, installed is"),
        ({"versions": {}}, "bundle-damaged", "KeyError"),
        ({"versions": []}, "bundle-damaged", "TypeError"),
        ({"as_of": "someday"}, "bundle-damaged", "ValidationError"),
        ({"as_of": 5}, "bundle-damaged", "ValidationError"),
        ({"more": 5}, "bundle-damaged", "ValidationError"),
        ({"engagement_full_at": "5"}, "bundle-damaged", "ValidationError"),
        ({"engagement_full_at": float("inf")}, "bundle-damaged", "ValidationError"),
        ({"user_dtype": "Float64"}, "bundle-damaged", "ValidationError"),
        ({"contacts": [["region"]]}, "bundle-damaged", "ValidationError"),
        ({"targets": "buys"}, "bundle-damaged", "ValidationError"),
        ({"spec": {}}, "bundle-damaged", "KeyError"),
        ({"spec": {**_NOTHING, "more": 1}}, "bundle-damaged", "TypeError"),
        ({"rfm_edges": {"recency": 1}}, "bundle-rfm-edges", "recency"),
        ({"targets": ["sells"]}, "bundle-damaged", "FileNotFoundError"),
        ({"targets": ["../targets/buys"]}, "bundle-parts", "missing: targets/../targets/buys/model.txt"),
        ({"targets": []}, "bundle-parts", "not part of it: targets/buys/model.txt"),
        ({"files": []}, "bundle-parts", "not part of it: clusters.json"),
        ({"files": ["notes.txt"]}, "bundle-damaged", "FileNotFoundError"),
        ({"contacts": [["age", "Int64"]]}, "bundle-parts", "the feature 'region' is none of the bundle's features"),
        (
            {"contacts": [["region", "String"], ["age", "Float64"]]},
            "bundle-parts",
            "targets/buys: the feature 'age' is Int64, the bundle's is Float64",
        ),
    ],
)
def test_what_another_version_wrote_is_refused(change: dict[str, object], code: str, named: str, written: Path) -> None:
    edit(written, "bundle.json", lambda meta: meta.update(change))
    with pytest.raises(IntegrityError) as caught:
        load_bundle(sign(written))
    assert caught.value.code == code
    assert named in caught.value.message


def test_types_inside_the_features_are_checked(written: Path) -> None:
    edit(written, "bundle.json", lambda meta: meta["spec"].update(windows=["30"]))
    with pytest.raises(IntegrityError, match="ValidationError"):
        load_bundle(sign(written))


def test_a_minor_version_of_a_library_may_differ(written: Path) -> None:
    def older(meta: dict[str, Any]) -> None:
        meta["versions"] = {name: f"{text.partition('.')[0]}.0" for name, text in meta["versions"].items()}

    edit(written, "bundle.json", older)
    assert load_bundle(sign(written)).as_of == DAY


def test_a_model_of_other_features_or_another_target_is_refused(full: Bundle, tmp_path: Path) -> None:
    def refused(changed: Bundle) -> IntegrityError:
        folder = write_bundle(changed, tmp_path / "staging", tmp_path / "out")
        with pytest.raises(IntegrityError) as caught:
            load_bundle(folder)
        assert caught.value.code == "bundle-parts"
        return caught.value

    [made] = full.models
    features = ("tenure_days", "view_count_90d", *made.spec.features[2:])
    renamed = replace(
        made.spec,
        features=features,
        importance=tuple((name, 1.0) for name in features),
        permutation=tuple((name, 0.0) for name in features),
    )
    error = refused(replace(full, models=(replace(made, spec=renamed),)))
    assert "targets/buys: the feature 'view_count_90d' is none of the bundle's features" in error.message
    assert "view_count_30d" not in error.message
    retyped = replace(made.spec, dtypes=("Float64", *made.spec.dtypes[1:]))
    error = refused(replace(full, models=(replace(made, spec=retyped),)))
    assert "targets/buys: the feature 'tenure_days' is Float64, the bundle's is Int64" in error.message


def test_models_that_changed_places_are_refused(tmp_path: Path) -> None:
    folder = write_bundle(full_bundle("buys", "sells"), tmp_path / "staging", tmp_path / "out")
    (folder / "targets/buys").rename(folder / "targets/x")
    (folder / "targets/sells").rename(folder / "targets/buys")
    (folder / "targets/x").rename(folder / "targets/sells")
    with pytest.raises(IntegrityError) as caught:
        load_bundle(sign(folder))
    assert caught.value.code == "bundle-parts"
    assert "targets/buys: holds the model of the target 'sells'" in caught.value.message


def test_a_model_text_of_another_target_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(full_bundle("buys", "sells"), tmp_path / "staging", tmp_path / "out")
    shutil.copy(folder / "targets/sells/model.txt", folder / "targets/buys/model.txt")
    with pytest.raises(IntegrityError) as caught:
        check_whole(sign(folder))
    assert caught.value.code == "model-sha256"
    assert "'buys'" in caught.value.message


def test_there_is_no_bundle_where_none_was_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bundle(tmp_path / "nowhere")
    assert caught.value.code == "bundle-missing"
    assert str(tmp_path / "nowhere") in caught.value.message


def test_the_id_of_a_bundle_is_what_is_in_it(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundle_id(written)
    written.rename(tmp_path / "prod")
    monkeypatch.chdir(tmp_path / "prod")
    assert bundle_id(Path()) == bundle_id(tmp_path / "prod") == before
    Path("files.json").write_bytes(Path("files.json").read_bytes() + b" ")
    assert bundle_id(Path()) != before


def test_names_outside_of_ascii_are_read_in_any_locale(tmp_path: Path) -> None:
    original = bundle(contacts=(("région", "String"),))
    folder = write_bundle(original, tmp_path / "staging", tmp_path / "out")
    assert "région".encode() in (folder / "bundle.json").read_bytes()
    code = (
        "import locale, pathlib, sys\n"
        "from engine.bundle import damages, load_bundle\n"
        "from engine.bundle_store import current_bundle\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "assert current_bundle(folder.parent.parent) == folder\n"
        "print(locale.getpreferredencoding(False), ascii(load_bundle(folder).contacts))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code, folder],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    encoding, _, contacts = done.stdout.strip().partition(" ")
    assert encoding.casefold() not in {"utf-8", "utf8"}
    assert contacts == ascii(original.contacts)


# ------------------------------------------------------------------------------------------------------------ mutations

Texts = dict[str, bytes]


def flipped_bit(made: Texts, draw: random.Random) -> None:
    name = draw.choice(sorted(made))
    content = bytearray(made[name])
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    made[name] = bytes(content)


def truncated(made: Texts, draw: random.Random) -> None:
    name = draw.choice(sorted(made))
    made[name] = made[name][: draw.randrange(len(made[name]))]


def swapped(made: Texts, draw: random.Random) -> None:
    one, other = draw.sample(sorted(made), 2)
    made[one], made[other] = made[other], made[one]


def missing(made: Texts, draw: random.Random) -> None:
    del made[draw.choice(sorted(made))]


def extra(made: Texts, draw: random.Random) -> None:
    made[draw.choice(["evil.pkl", "targets/buys/lightgbm.py", "targets/more/model.txt"])] = draw.randbytes(20)


def other_model(made: Texts, draw: random.Random) -> None:
    name = draw.choice(["model.txt", "model.json"])
    made[f"targets/buys/{name}"] = made[f"targets/sells/{name}"]


def other_value(made: Texts, draw: random.Random) -> None:
    name = draw.choice(sorted(name for name in made if name.endswith(".json") and name != "files.json"))
    content = json.loads(made[name])
    place: Any = content
    while True:
        key = draw.choice(sorted(place)) if isinstance(place, dict) else draw.randrange(len(place))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or draw.random() < 0.1:
            break
        place = inner
    values = [None, -1, 0, 1, 10**30, -0.5, 1e308, "", "x", "1", True, [], {}, [[]], "\ud800"]
    if draw.random() < 0.2:
        del place[key]
    else:
        place[key] = draw.choice([value for value in values if value != inner or type(value) is not type(inner)])
    made[name] = json.dumps(content).encode()


def other_line(made: Texts, draw: random.Random) -> None:
    name = draw.choice(["targets/buys/model.txt", "targets/sells/model.txt"])
    lines = made[name].split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    made[name] = b"\n".join(lines)


MUTATIONS = [flipped_bit, truncated, swapped, missing, extra, other_model, other_value, other_line]


def put(made: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def two_models() -> Texts:
    return {name: text.encode() for name, text in bundle_files(full_bundle("buys", "sells")).items()}


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("signed", [False, True], ids=["found_so", "signed_again"])
def test_no_mutated_bundle_is_accepted_or_ends_the_process(
    count: int, signed: bool, two_models: Texts, tmp_path: Path
) -> None:
    draw = random.Random(f"{count} {signed}")
    identity = hashlib.sha256(two_models["files.json"]).hexdigest()[:12]
    assert check_whole(put(two_models, tmp_path / identity)) == full_bundle("buys", "sells")
    refused: Counter[str] = Counter()
    for number in range(count):
        made = dict(two_models)
        MUTATIONS[number % len(MUTATIONS)](made, draw)
        if made == two_models:
            continue
        folder = put(made, tmp_path / str(number) / identity)
        if signed and "files.json" in made:
            sign(folder, moved=False)
        with pytest.raises(TamisError) as caught:
            check_whole(folder)
        refused[caught.value.code] += 1
        assert caught.value.hint
        if not signed or "files.json" not in made:
            continue
        # Whoever can sign a bundle can also give it its name: what is then accepted at least does what it says.
        theirs = folder.rename(folder.with_name(bundle_id(folder)))
        try:
            accepted = check_whole(theirs)
            for each in accepted.models:
                predict(rows(5, DAY, range(50)), load_scorer(each.text, each.spec), threads=1)
        except TamisError as error:
            refused[f"named {error.code}"] += 1
        else:
            refused["named by its maker"] += 1
            assert accepted != full_bundle("buys", "sells") or load_bundle(theirs) == accepted
    assert refused["bundle-damaged"] + refused["bundle-missing"] >= 0.9 * count
    if signed:
        assert {"named bundle-damaged", "named bundle-parts", "named model-spec", "named model-sha256"} <= set(refused)
