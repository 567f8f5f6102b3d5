"""Names of delivered files: the table of the old system's `filebase`, and what it lost or let escape."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.components.names import FileNames, expand_dates, safe_part
from exporters_beam.errors import ConfigError

from examples import at_least


@pytest.mark.parametrize(
    ("filebase", "group", "number", "name"),
    [
        ("out/", (), 0, "out/0000.jl.gz"),
        ("out/name_", (), 1, "out/name_0001.jl.gz"),
        ("out/{file_number}_x", (), 1, "out/1_x.jl.gz"),
        ("out/{file_number:03d}_x", (), 0, "out/000_x.jl.gz"),
        ("out/f", ("x",), 0, "out/f0000-x.jl.gz"),
        ("out/f", ("x", "p"), 0, "out/f0000-x-p.jl.gz"),
        ("{groups[0]}/f", ("x",), 0, "x/f0000.jl.gz"),
        ("{groups[0]}/{groups[1]}/f", ("it", "roma"), 1, "it/roma/f0001.jl.gz"),
        ("out/f_{groups[0]}", ("x",), 0, "out/f_x.jl.gz"),
        ("out/f_{groups[0]}", ("x",), 1, "out/f_x0001.jl.gz"),
        ("out/f_{groups[0]}_{file_number}", ("x",), 1, "out/f_x_1.jl.gz"),
        ("out/f_{file_number}", ("x",), 0, "out/f_0-x.jl.gz"),
        ("out/{groups[0]}", ("a", "b"), 0, "out/a-b.jl.gz"),
        ("/{groups[0]}/f", ("..",), 0, "/%2E./f0000.jl.gz"),
        ("f", (), 0, "f0000.jl.gz"),
    ],
)
def test_names(filebase, group, number, name):
    assert FileNames(filebase, len(group), ".jl.gz").name(group, number) == name


def test_the_first_file_of_a_group_keeps_its_name_whatever_number_it_starts_with():
    names = FileNames("f_{groups[0]}", 1, ".jl", start=7)
    assert [names.name(("x",), n) for n in (7, 8)] == ["f_x.jl", "f_x0008.jl"]


@pytest.mark.parametrize(
    ("filebase", "base"),
    [("out/a/f", "out/a"), ("f", "."), ("/f", "/"), ("out/{groups[0]}/f", "out"), ("{groups[0]}/f", "."),
     ("/data/x{groups[0]}/f", "/data"), ("/{groups[0]}/f", "/")],
)  # fmt: skip
def test_bookkeeping_stands_in_the_folder_before_the_first_placeholder(filebase, base):
    assert FileNames(filebase, 1, ".jl").base == base


@pytest.mark.parametrize(
    ("filebase", "groups", "says"),
    [
        ("out/{groups[0]}/x", 0, "there is no grouper"),
        ("out/{groups[2]}", 2, "the grouper gives 2"),
        ("out/x-{nope}", 0, "unknown placeholder {nope}"),
        ("out/{file_number}/x", 0, "in the name only"),
        ("out/x{", 0, "not a template"),
        ("out/{file_number:xx}", 0, "file_number:xx"),
        ("out/{:%d-%b-%Y}", 0, "unknown placeholder"),
    ],
)
def test_wrong_templates_are_refused_before_anything_is_read(filebase, groups, says):
    with pytest.raises(ConfigError, match="filebase: ") as caught:
        FileNames(filebase, groups, ".jl")
    assert says in str(caught.value)


def test_dates_are_expanded_and_placeholders_and_other_scripts_left_alone():
    now = datetime(2010, 1, 2, 3, 4, 5)
    assert expand_dates("out/%Y/ñ東/{groups[0]}/%d%%_", now) == "out/2010/ñ東/{groups[0]}/02%_"


@given(st.lists(st.text(max_size=300), min_size=2, max_size=2, unique=True))
@settings(max_examples=at_least(300))
def test_different_values_give_different_parts_that_stay_in_their_folder(values):
    parts = [safe_part(value) for value in values]
    assert parts[0] != parts[1]
    for part in parts:
        assert part and "/" not in part and "\0" not in part and part[0] != "."
        assert len(part.encode()) <= 255


@given(st.lists(st.tuples(st.text("a-b", max_size=3), st.text("a-b", max_size=3)), min_size=2, max_size=2, unique=True))
def test_groups_that_the_template_does_not_name_never_share_a_file(groups):
    names = FileNames("f", 2, ".jl")
    assert names.name(groups[0], 0) != names.name(groups[1], 0)


@pytest.mark.parametrize("value", ["ok", "sp ace", "dot.dash-_", "valéncia", "東京", "a+b@c"])
def test_harmless_values_stay_as_they_are(value):
    assert safe_part(value) == value


PARTS = st.text(alphabet="ab-0", min_size=1, max_size=4)
TEMPLATES = st.lists(
    st.sampled_from(["a", "-", "/", "{groups[0]}", "{groups[1]}", "{file_number}", "0"]), min_size=1, max_size=6
).map("".join)


@settings(max_examples=at_least(400))
@given(TEMPLATES, st.lists(st.tuples(PARTS, PARTS), min_size=2, max_size=30, unique=True), st.integers(1, 3))
def test_where_names_are_not_ambiguous_no_two_groups_have_the_same(template, groups, files):
    try:
        names = FileNames(template, 2, ".jl")
    except ConfigError:
        return
    if not names.ambiguous(files > 1):
        found = [names.name(group, number) for group in groups for number in range(files)]
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("filebase", "groups", "several"),
    [("f-", 1, True), ("f-", 2, True), ("{groups[0]}/f", 1, True), ("{groups[0]}", 1, False), ("f-{groups[0]}.x", 1, False),
     ("{groups[1]}/{groups[0]}/f_{file_number}", 2, True), ("{groups[0]}/{groups[1]}", 2, False), ("f", 0, True)],
)  # fmt: skip
def test_the_usual_names_are_not_ambiguous(filebase, groups, several):
    assert not FileNames(filebase, groups, ".jl").ambiguous(several)
