from __future__ import annotations

import dataclasses
import random
import re

import numpy as np
import pytest

from engine.errors import IntegrityError
from engine.propensity.check_rows import probing_rows
from engine.propensity.forest import compile_forest, forest_scores
from engine.propensity.model_text import Tree, canonical_text, feature_name, parse_model_text
from engine.propensity.predict import load_scorer
from engine.propensity.spec import text_sha256
from engine.propensity.train import TrainedModel


def resized(text: str) -> str:
    # The sizes that fit the text again, as someone who edits a model on purpose would write them.
    body = text.partition("\n\n")[2].removesuffix("end of trees\n")
    sizes = " ".join(str(len(block)) for block in re.split(r"(?=^Tree=)", body, flags=re.MULTILINE) if block)
    return re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", text, flags=re.MULTILINE)


def edit_line(text: str, key: str, edit: object, tree: int = 0) -> str:
    lines = text.split("\n")
    at = [number for number, line in enumerate(lines) if line.startswith(f"{key}=")][tree]
    tokens = lines[at].partition("=")[2].split(" ")
    lines[at] = f"{key}=" + " ".join(edit(tokens))  # type: ignore[operator]
    return resized("\n".join(lines))


def first(value: str) -> object:
    return lambda tokens: [value, *tokens[1:]]


def last(value: str) -> object:
    return lambda tokens: [*tokens[:-1], value]


def scores_of(text: str, matrix: np.ndarray) -> bytes:
    import lightgbm

    return np.asarray(lightgbm.Booster(model_str=text).predict(matrix, raw_score=True, num_threads=1)).tobytes()


def parse(text: str, model: TrainedModel) -> None:
    parse_model_text(text, model.spec.categorical)


def test_the_trees_predict_what_lightgbm_predicts(model: TrainedModel) -> None:
    categorical = model.spec.categorical
    trees = parse_model_text(model.text, categorical)
    assert len(trees) == model.spec.settings.trees
    numeric = [tree for tree in trees if not any(categorical[feature] for feature in tree.split_feature)]
    assert numeric
    booster = load_scorer(model.text, model.spec).booster
    rows = np.array([[0.0 if np.isnan(v) else v for v in row] for row in np.array(model.spec.check_rows, dtype=float)])
    leaves = np.asarray(booster.predict(rows, pred_leaf=True, num_threads=1))
    for number, tree in enumerate(trees):
        if not any(categorical[feature] for feature in tree.split_feature):
            for row, leaf in zip(rows, leaves[:, number], strict=True):
                node = 0
                while node >= 0:
                    left = row[tree.split_feature[node]] <= tree.threshold[node]
                    node = int((tree.left_child if left else tree.right_child)[node])
                assert -node - 1 == leaf


def test_the_canonical_text_predicts_as_the_full_text() -> None:
    import lightgbm

    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(400, 2))
    data = lightgbm.Dataset(matrix, label=matrix[:, 0] > 0, feature_name=["f0", "f1"])
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1}
    full = lightgbm.train(settings, data, num_boost_round=5).model_to_string()
    text = canonical_text(full)
    assert len(text) < len(full)
    assert canonical_text(text) == text
    assert len(parse_model_text(text, [False, False])) == 5
    assert scores_of(text, matrix) == scores_of(full, matrix)


EDITS = {
    "child is its own parent": lambda text: edit_line(text, "left_child", first("0")),
    "child is an ancestor": lambda text: edit_line(text, "right_child", last("0")),
    "child beyond the nodes": lambda text: edit_line(text, "left_child", first("1000")),
    "leaf beyond the leaves": lambda text: edit_line(text, "right_child", last("-1000")),
    "leaf with two parents": lambda text: edit_line(text, "right_child", last("-1")),
    "one child fewer": lambda text: edit_line(text, "left_child", lambda tokens: tokens[:-1]),
    "one child more": lambda text: edit_line(text, "left_child", lambda tokens: [*tokens, "-1"]),
    "feature beyond the features": lambda text: edit_line(text, "split_feature", first("7")),
    "negative feature": lambda text: edit_line(text, "split_feature", first("-1")),
    "huge feature": lambda text: edit_line(text, "split_feature", first("4294967296")),
    "more leaves than values": lambda text: edit_line(text, "num_leaves", lambda _: ["8"]),
    "billions of leaves": lambda text: edit_line(text, "num_leaves", lambda _: ["2147483647"]),
    "no leaf": lambda text: edit_line(text, "num_leaves", lambda _: ["0"]),
    "negative leaves": lambda text: edit_line(text, "num_leaves", lambda _: ["-7"]),
    "threshold is NaN": lambda text: edit_line(text, "threshold", first("nan")),
    "threshold is infinite in words": lambda text: edit_line(text, "threshold", first("infinity")),
    "leaf value is huge": lambda text: edit_line(text, "leaf_value", first("1e101")),
    "leaf value is infinite": lambda text: edit_line(text, "leaf_value", first("inf")),
    "threshold overflows": lambda text: edit_line(text, "threshold", first("1e999")),
    "leaf value is NaN": lambda text: edit_line(text, "leaf_value", first("nan")),
    "leaf value is hexadecimal": lambda text: edit_line(text, "leaf_value", first("0x1p3")),
    "leaf value has a thousand digits": lambda text: edit_line(text, "leaf_value", first("1" * 1000)),
    "one leaf value fewer": lambda text: edit_line(text, "leaf_value", lambda tokens: tokens[:-1]),
    "unknown decision": lambda text: edit_line(text, "decision_type", first("64")),
    "numeric split of categories": lambda text: text.replace("decision_type=9", "decision_type=8"),
    "category split of numbers": lambda text: re.sub(r"(decision_type=.*?)\b2\b", r"\g<1>1", text, count=1),
    "sets of categories beyond the list": lambda text: edit_line(text, "cat_boundaries", last("9")),
    "sets of categories that shrink": lambda text: edit_line(text, "cat_boundaries", first("5")),
    "set longer than 32 bits": lambda text: edit_line(text, "cat_threshold", first("4294967296")),
    "fewer sets than category splits": lambda text: edit_line(text, "num_cat", lambda _: ["0"]),
    "linear leaves": lambda text: edit_line(text, "is_linear", lambda _: ["1"]),
    "sizes too small": lambda text: re.sub(r"tree_sizes=\d+", "tree_sizes=10", text),
    "sizes too large": lambda text: re.sub(r"tree_sizes=\d+", "tree_sizes=99999999", text),
    "size zero": lambda text: re.sub(r"tree_sizes=\d+", "tree_sizes=0", text),
    "one size more": lambda text: re.sub(r"(tree_sizes=.*)", r"\1 900", text),
    "one size fewer": lambda text: re.sub(r"(tree_sizes=.*) \d+", r"\1", text),
    "more features": lambda text: text.replace("max_feature_idx=6", "max_feature_idx=7"),
    "other feature names": lambda text: text.replace("f0 f1", "f1 f0"),
    "other objective": lambda text: text.replace("objective=binary sigmoid:1", "objective=regression"),
    "other scale": lambda text: text.replace("sigmoid:1", "sigmoid:2"),
    "three classes": lambda text: text.replace("num_class=1", "num_class=3"),
    "mean of trees": lambda text: text.replace("label_index=0", "label_index=0\naverage_output"),
    "a key twice": lambda text: resized(text.replace("num_cat=", "num_leaves=7\nnum_cat=", 1)),
    "a key less": lambda text: resized(re.sub(r"internal_count=.*\n", "", text, count=1)),
    "keys in another order": lambda text: resized(re.sub(r"(is_linear=.*)\n(shrinkage=.*)", r"\2\n\1", text, count=1)),
    "parameters": lambda text: text + "\nparameters:\n[num_threads: 64]\nend of parameters\n",
    "Windows line ends": lambda text: text.replace("\n", "\r\n"),
    "digits of another script": lambda text: text.replace("shrinkage=1", "shrinkage=\u0661", 1),
    "a null byte": lambda text: text.replace("Tree=1\n", "Tree=1\x00\n"),
    "nothing": lambda text: "",
    "only the header": lambda text: text.partition("Tree=0")[0],
    "no end": lambda text: text.removesuffix("end of trees\n"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_text_is_refused(model: TrainedModel, edit: object) -> None:
    edited = edit(model.text)  # type: ignore[operator]
    assert edited != model.text
    with pytest.raises(IntegrityError) as caught:
        parse(edited, model)
    assert caught.value.code == "model-text"


@pytest.mark.parametrize("threshold", ["inf", "-inf"])
def test_an_infinite_threshold_is_grammar_but_not_the_stored_model(model: TrainedModel, threshold: str) -> None:
    # LightGBM writes it where a split separates missing values from all others.
    [number] = [
        number
        for number, tree in enumerate(parse_model_text(model.text, model.spec.categorical))
        if not any(model.spec.categorical[feature] for feature in tree.split_feature) and np.isfinite(tree.threshold[0])
    ][:1]
    edited = edit_line(model.text, "threshold", first(threshold), tree=number)
    trees = parse_model_text(edited, model.spec.categorical)
    assert trees[number].threshold[0] == float(threshold)
    with pytest.raises(IntegrityError) as caught:
        load_scorer(edited, model.spec)
    assert caught.value.code == "model-sha256"
    with pytest.raises(IntegrityError) as caught:
        load_scorer(edited, dataclasses.replace(model.spec, sha256=text_sha256(edited)))
    assert caught.value.code == "model-scores"


def test_lightgbm_writes_infinite_thresholds_that_are_read_back() -> None:
    import lightgbm

    value = np.where(np.arange(400) % 2 == 0, np.nan, np.arange(400) % 3)
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 2}
    data = lightgbm.Dataset(value[:, np.newaxis], label=np.isnan(value), feature_name=["f0"])
    full = lightgbm.train(settings, data, num_boost_round=3).model_to_string()
    text = canonical_text(full)
    trees = parse_model_text(text, [False])
    assert [abs(float(tree.threshold[0])) for tree in trees] == [np.inf] * 3
    rows = np.array([[np.nan], [-1e308], [0.0], [1e308]])
    assert scores_of(text, rows) == scores_of(full, rows)


def test_monotone_constraints_and_a_model_cut_early_are_read() -> None:
    import lightgbm

    matrix = np.random.default_rng(4).normal(size=(500, 2))
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "monotone_constraints": [1, 0]}
    data = lightgbm.Dataset(matrix, label=matrix[:, 0] > 0, feature_name=["f0", "f1"])
    booster = lightgbm.train(settings, data, num_boost_round=8)
    full = booster.model_to_string(num_iteration=3)
    assert "\nmonotone_constraints=1 0\n" in full
    text = canonical_text(full)
    assert "monotone" not in text
    assert len(parse_model_text(text, [False, False])) == 3
    assert scores_of(text, matrix) == scores_of(full, matrix)


def leaves_below(tree: Tree, node: int) -> set[int]:
    if node < 0:
        return {-node - 1}
    return leaves_below(tree, int(tree.left_child[node])) | leaves_below(tree, int(tree.right_child[node]))


def test_the_sets_of_categories_are_read(model: TrainedModel) -> None:
    categorical = model.spec.categorical
    city = categorical.index(True)
    codes = np.arange(-1.0, 8.0)
    booster = load_scorer(model.text, model.spec).booster
    rows = np.full((codes.size, len(categorical)), np.nan)
    rows[:, city] = codes
    leaves = np.asarray(booster.predict(rows, pred_leaf=True, num_threads=1)).reshape(codes.size, -1)
    read = 0
    for number, tree in enumerate(parse_model_text(model.text, categorical)):
        if categorical[tree.split_feature[0]]:
            begin, end = tree.cat_boundaries[int(tree.threshold[0]) :][:2]
            held = {
                32 * place + bit
                for place, word in enumerate(tree.cat_threshold[begin:end])
                for bit in range(32)
                if word >> bit & 1
            }
            left = leaves_below(tree, int(tree.left_child[0]))
            assert [leaf in left for leaf in leaves[:, number]] == [code in held for code in codes]
            read += 1
    assert read


def test_a_model_of_other_features_is_refused(model: TrainedModel) -> None:
    categorical = model.spec.categorical
    for other in (categorical[1:], (*categorical, False), tuple(not coded for coded in categorical)):
        with pytest.raises(IntegrityError):
            parse_model_text(model.text, other)


def bit_flips(text: str, draw: random.Random) -> str:
    raw = bytearray(text.encode())
    for _ in range(draw.randint(1, 3)):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(7)
    return raw.decode("ascii")


def truncations(text: str, draw: random.Random) -> str:
    return text[: draw.randrange(len(text))]


def other_children(text: str, draw: random.Random) -> str:
    lines = text.split("\n")
    at = draw.choice([number for number, line in enumerate(lines) if line.startswith(("left_child", "right_child"))])
    key, _, values = lines[at].partition("=")
    tokens = values.split(" ")
    tokens[draw.randrange(len(tokens))] = str(draw.randint(-9, 9))
    lines[at] = f"{key}={' '.join(tokens)}"
    return resized("\n".join(lines))


def other_numbers(text: str, draw: random.Random) -> str:
    numbers = list(re.finditer(r"(?<==|[ \[:])-?\d+(?:\.\d+)?(?:e[+-]\d+)?", text))
    found = draw.choice(numbers)
    new = draw.choice(["-1", "0", "1", "3", "99", "-2147483648", "4294967295", "1e300", "nan", "", "1 2"])
    return resized(text[: found.start()] + new + text[found.end() :])


def moved_lines(text: str, draw: random.Random) -> str:
    lines = text.split("\n")
    one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return resized("\n".join(lines))


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mutate", [bit_flips, truncations, other_children, other_numbers, moved_lines])
def test_no_mutation_ends_the_process_or_changes_scores_unseen(model: TrainedModel, mutate: object, count: int) -> None:
    draw = random.Random(2024)
    kinds: dict[str, int] = {}
    for _ in range(count):
        text = model.text
        while text == model.text:
            text = mutate(model.text, draw)  # type: ignore[operator]
        with pytest.raises(IntegrityError, match="sha256"):
            load_scorer(text, model.spec)
        # Someone who can also write the checksum meets the grammar, and after it the stored scores.
        spec = dataclasses.replace(model.spec, sha256=text_sha256(text))
        try:
            scorer = load_scorer(text, spec)
        except IntegrityError as error:
            kinds[error.code] = kinds.get(error.code, 0) + 1
            continue
        kinds["equal"] = kinds.get("equal", 0) + 1
        # What is left reads the same for the kernel: it neither fails nor gives other scores than LightGBM.
        forest = compile_forest(scorer.model.trees, scorer.model.features)
        rows = probing_rows(scorer.model.trees, forest.levels.tolist())
        assert forest_scores(forest, rows, 1).tobytes() == scores_of(text, rows)
    assert kinds.pop("model-text") >= count // 3
    assert set(kinds) <= {"model-scores", "equal"}


def test_features_are_named_by_position() -> None:
    assert [feature_name(position) for position in range(2)] == ["f0", "f1"]
