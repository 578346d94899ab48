import dataclasses

import pytest

from embeddings import EmbeddingsError, Recipe, Template
from embeddings.recipe import is_chinese

RECIPE = Recipe("e5-small", "r1", "mean", Template("query: {text}"), True, 512, "int8")
CHANGES = {
    "encoder": "minilm",
    "revision": "r2",
    "pooling": "cls",
    "template": Template("passage: {text}"),
    "normalize": False,
    "max_tokens": 256,
    "dtype": "fp32",
    "steps": ("dense 384>128 Tanh",),
    "lower_case": True,
    "prompt_in_pooling": False,
    "device": "cuda",
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_changes_the_key(field):
    assert dataclasses.replace(RECIPE, **{field: CHANGES[field]}).key != RECIPE.key


def test_the_key_is_readable_and_the_recipe_survives_json():
    assert RECIPE.key.startswith("e5-small-mean-int8-")
    assert Recipe.from_dict(RECIPE.as_dict()) == RECIPE


@pytest.mark.parametrize("template", ["no place", "{text} and {text}", "{texts}"])
def test_a_template_has_one_place(template):
    with pytest.raises(EmbeddingsError, match="exactly once"):
        Template(template)


def test_braces_in_texts_and_templates_are_just_braces():
    assert Template('{"q": "{text}"}').render("{0} {x}") == '{"q": "{0} {x}"}'


def test_the_template_follows_the_language():
    template = Template('means "{text}"', zh="意思是“{text}”")
    assert template.render("周末火锅,满100减30") == "意思是“周末火锅,满100减30”"
    assert template.render("Heat (1995)") == 'means "Heat (1995)"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [("咖啡", True), ("NBA 季后赛集锦", True), ("hello", False), ("1984", False), ("Learn the word 火", False)],
)
def test_is_chinese(text, expected):
    assert is_chinese(text) is expected


def test_unknown_pooling_is_named():
    with pytest.raises(EmbeddingsError, match=r"pooling 'median'.*mean, cls, last"):
        dataclasses.replace(RECIPE, pooling="median")
