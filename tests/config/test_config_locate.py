"""The locator against tomllib: every key of any valid document is found on its line."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.config.positions import locate

Path = tuple[str, ...]


def list_paths(value: Any, path: Path = ()) -> dict[Path, Any]:
    found: dict[Path, Any] = {path: value} if path else {}
    if isinstance(value, dict):
        for key, item in value.items():
            found |= list_paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found |= list_paths(item, (*path, str(index)))
    return found


keys = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\x7f", exclude_categories=["Cc", "Cs"]), max_size=6
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12).map(
    lambda text: text.replace("\r", "")
)
scalars = st.one_of(
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.floats(allow_nan=False),
    texts,
    st.datetimes(),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=12,
)
documents = st.dictionaries(keys, st.one_of(values, st.dictionaries(keys, values, max_size=4)), max_size=5)


@pytest.mark.slow
@given(documents)
@settings(deadline=None)
def test_every_key_of_a_generated_document_is_found_on_a_line_that_holds_it(tree: dict[str, Any]) -> None:
    text = tomlkit.dumps(tree).replace("\r\n", "\n")
    lines = text.split("\n")
    places = locate(text)
    expected = list_paths(tomllib.loads(text))
    assert set(expected) <= set(places)
    for path, value in expected.items():
        key, span = places[path]
        for part in (key, span):
            assert 1 <= part.column <= len(lines[part.line - 1]) + 1
        if not path[-1].isdecimal():
            shown = lines[key.line - 1][key.column - 1 :][: key.length]
            assert tomllib.loads(f"{shown} = 1") == {path[-1]: 1}
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = lines[span.line - 1][span.column - 1 :][: span.length]
            assert tomllib.loads(f"x = {shown}") == {"x": value}


DOCUMENT = '''\
# a comment = 1 with [brackets]
top = "a # b = c [d]"
dotted . key."with.dot" = 'x'

[ table . "sub table" ] # comment
a = [ 1, # one = 1
  "two]", { three = 3, four.five = [6] },
]
b = """
c = 1
[not.a.table]
""""
d = 1979-05-27 07:32:00 # e = 2

[[many]]
x = 1
[many.inner]
y = 2
[[many]]
x = 3
  [[many.deep]]
  z = 4
[dotted2.a.b]
c = 1
[dotted2]
d = { }
'''


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("top",), (2, 1, 3), (2, 7, 15)),
        (("dotted",), (3, 1, 6), (3, 1, 6)),
        (("dotted", "key", "with.dot"), (3, 14, 10), (3, 27, 3)),
        (("table", "sub table"), (5, 11, 11), (5, 11, 11)),
        (("table", "sub table", "a"), (6, 1, 1), (6, 5, 14)),
        (("table", "sub table", "a", "1"), (7, 3, 6), (7, 3, 6)),
        (("table", "sub table", "a", "2", "three"), (7, 13, 5), (7, 21, 1)),
        (("table", "sub table", "a", "2", "four", "five", "0"), (7, 37, 1), (7, 37, 1)),
        (("table", "sub table", "b"), (9, 1, 1), (9, 5, 3)),
        (("table", "sub table", "d"), (13, 1, 1), (13, 5, 19)),
        (("many", "0", "x"), (16, 1, 1), (16, 5, 1)),
        (("many", "0", "inner", "y"), (18, 1, 1), (18, 5, 1)),
        (("many", "1", "x"), (20, 1, 1), (20, 5, 1)),
        (("many", "1", "deep", "0", "z"), (22, 3, 1), (22, 7, 1)),
        (("dotted2", "a", "b", "c"), (24, 1, 1), (24, 5, 1)),
        (("dotted2",), (25, 2, 7), (25, 2, 7)),
        (("dotted2", "d"), (26, 1, 1), (26, 5, 3)),
    ],
)
def test_each_form_of_key_and_value_is_found(
    path: Path, key: tuple[int, ...], value: tuple[int, ...]
) -> None:
    place = locate(DOCUMENT)[path]
    assert (tuple(place.key), tuple(place.value)) == (key, value)


def test_only_existing_keys_are_located() -> None:
    assert set(list_paths(tomllib.loads(DOCUMENT))) == set(locate(DOCUMENT))


@given(st.text(max_size=60))
@settings(deadline=None)
def test_any_text_at_all_does_no_harm(text: str) -> None:
    locate(text)
