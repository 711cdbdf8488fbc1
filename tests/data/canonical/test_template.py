from __future__ import annotations

import pytest

from coldlm.core.errors import DataError
from coldlm.data.canonical.template import clean, fill, template_problems


def test_line_breaks_nul_and_blanks_become_one_blank_and_emoji_stay() -> None:
    assert clean("\t a\r\nb\0\0c 　 d👩‍🚀 ") == "a b c d👩‍🚀"
    assert clean(None) == ""


@pytest.mark.parametrize(
    ("title", "year", "genres", "expected"),
    [
        ("Heat", "1995", "Crime", "Heat (1995) | Crime"),
        ("Heat", "", "Crime", "Heat | Crime"),
        ("Heat", "1995", "", "Heat (1995)"),
        ("Heat", "", "", "Heat"),
        ("", "1995", "Crime", "(1995) | Crime"),
        ("", "", "Crime", "Crime"),
        ("", "", "", ""),
    ],
)
def test_a_missing_field_takes_its_brackets_and_separators_along(
    title: str, year: str, genres: str, expected: str
) -> None:
    columns = {"title": [title], "year": [year], "genres": [genres]}
    assert fill("{title} ({year}) | {genres}", columns) == (expected,)


def test_separators_and_braces_inside_values_stay() -> None:
    columns = {"title": ["- What? {genres} | -"], "genres": [""]}
    assert fill("{title} | {genres}", columns) == ("- What? {genres} | -",)


def test_a_hole_in_the_middle_leaves_one_separator() -> None:
    assert fill("{a} | {b} | {c}", {"a": ["x"], "b": [""], "c": ["z"]}) == ("x | z",)


def test_columns_may_have_blanks_in_their_names_and_occur_twice() -> None:
    assert fill("{product name}/{product name}", {"product name": ["cup"]}) == ("cup/cup",)


@pytest.mark.parametrize("template", ["no field", "{title", "{title} }", ""])
def test_a_template_without_fields_or_with_stray_braces_is_a_problem(template: str) -> None:
    [problem] = template_problems(template, ["title"])
    assert problem.startswith(f"dataset.text={template!r}: a template such as '{{title}}'")


def test_unknown_fields_are_problems_and_refused() -> None:
    [problem] = template_problems("{title} {gernes}", ["title", "genres"])
    assert "no field {gernes}; fields may be {title}, {genres}" in problem
    with pytest.raises(DataError, match=r"no field \{gernes\}"):
        fill("{title} {gernes}", {"title": ["x"], "genres": ["y"]})


def test_fields_that_know_the_future_are_refused_with_the_reason() -> None:
    found = template_problems("{title} {stars} {tilte}", ["title"], {"stars": "the mean of all"})
    assert found == [
        "dataset.text='{title} {stars} {tilte}': {stars} is a later aggregate (the mean of all) "
        "and would leak the future; fields may be {title}",
        "dataset.text='{title} {stars} {tilte}': no field {tilte}; fields may be {title}",
    ]
