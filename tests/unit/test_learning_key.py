"""A model's name: one way to write it, one to read it, one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from eddyscope.artefacts.key import ModelKey, adaptation_text
from eddyscope.config.errors import CaseError

MODELS = Path("models")


@pytest.mark.parametrize(
    ("key", "text", "file"),
    [
        (ModelKey(), "base", "base"),
        (ModelKey("base", training_seed=3), "base,training_seed=3", "base,training_seed=3"),
        (ModelKey("l02"), "l02", "transfer/l02"),
        (ModelKey("l03+l02"), "l02+l03", "transfer/l02+l03"),
        (ModelKey("gain", seed=1), "gain,seed=1", "transfer/gain,seed=1"),
        (
            ModelKey("lora(rank=4,layers=l05+l02)", 16, "target", 0, "matched", 2),
            "lora(layers=l02+l05,rank=4),samples=16,normalisation=target,training_seed=0,"
            "recipe=matched,seed=2",
            "transfer/lora(layers=l02+l05,rank=4),samples=16,normalisation=target,"
            "training_seed=0,recipe=matched,seed=2",
        ),
    ],
)
def test_round_trip(key: ModelKey, text: str, file: str):
    assert str(key) == text
    assert ModelKey.parse(text) == key
    assert key.path(MODELS) == MODELS / f"{file}.safetensors"


def test_layers_are_a_set():
    keys = {ModelKey.parse(text) for text in ("l02+l03", "l03+l02", "l03+l02+l03")}
    assert keys == {ModelKey("l02+l03")}
    assert ModelKey("l02+l100+l11").layers == ("l02", "l11", "l100")


def test_first_repeat_has_one_name():
    assert ModelKey.parse("l02,seed=0") == ModelKey("l02")


def test_parts_of_an_adaptation():
    lora, plain = ModelKey("lora(layers=l02+l05,rank=4)"), ModelKey("l02")
    assert (lora.kind, lora.layers, lora.parameters) == ("lora", ("l02", "l05"), {"rank": "4"})
    assert (plain.kind, plain.layers, plain.parameters) == ("layers", ("l02",), {})
    assert plain.is_single_layer and not lora.is_single_layer
    assert ModelKey().is_base and ModelKey().kind == "base" and not ModelKey().layers
    assert adaptation_text("lora", {"rank": 4, "layers": "l02+l05"}) == lora.adaptation


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no adaptation"),
        ("l02,", "name=value"),
        ("l02,samples", "name=value"),
        ("l02,sampels=4", "did you mean samples?"),
        ("l02,samples=many", "is no number"),
        ("l02,samples=²", "name=value"),
        ("l02,samples=0", "1 or more"),
        ("l02,seed=1,seed=2", "each name once"),
        ("l02,recipe=best", "give 'matched', or leave it out"),
        ("../l02", "no adaptation"),
        ("a/b", "no adaptation"),
        ("l02+gain", "no adaptation"),
        ("lora(rank=4", "no name of a model"),
        ("lora(rank=4)x", "no name of a model"),
        ("lora()", "name=value"),
        ("l02\n", "no adaptation"),
        ("l02\0", "no adaptation"),
        ("+".join(f"l{i:02d}" for i in range(1, 99)), "name fewer layers"),
    ],
)
def test_what_is_no_name(text: str, words: str):
    with pytest.raises(CaseError, match="(?s)" + words.replace("?", r"\?")) as error:
        ModelKey.parse(text)
    assert "\n" not in str(error.value)
