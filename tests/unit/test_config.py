"""Case files: what a user reads when something in them is wrong."""

from __future__ import annotations

import pickle
from typing import Annotated, Literal

import pytest
from pydantic import Field

from eddyscope.config import provenance
from eddyscope.config.case import Section, apply_override, load, merge
from eddyscope.config.errors import CaseError, apart, in_lines, together
from eddyscope.config.explain import names_of
from eddyscope.config.registry import Choice, Registry
from eddyscope.networks.registry import NETWORKS
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.stages.case import load_case
from eddyscope.stages.example import written
from small_flows import write_case


class NoForcing:
    class Settings(Section):
        kind: Literal["none"] = "none"


class Ring:
    class Settings(Section):
        kind: Literal["ring"] = "ring"
        wavenumber: int = Field(4, ge=1)

    def __init__(self, settings: Ring.Settings, scale: float):
        self.amplitude = settings.wavenumber * scale


FORCINGS: Registry[object] = Registry("forcing", {"none": NoForcing, "ring": Ring})


class Grid(Section):
    n: int = Field(64, ge=4)
    dealias: float = 1.5
    precision: Literal["float32", "float64"] = "float64"


class Flow(Section):
    reynolds: float
    forcing: Annotated[Section, Choice(FORCINGS)] = NoForcing.Settings()


class Case(Section):
    name: str
    grid: Grid = Grid()
    flow: Flow


GOOD = 'name = "a"\n[flow]\nreynolds = 1e4\n'


@pytest.fixture
def read(tmp_path):
    def read_case(text, overrides=(), **others):
        for name, content in others.items():
            (tmp_path / f"{name}.toml").write_text(content)
        path = tmp_path / "case.toml"
        path.write_text(text)
        return load(path, Case, overrides)

    return read_case


def complaint(read, *args, **kwargs) -> str:
    with pytest.raises(CaseError) as caught:
        read(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message, "errors are one line"
    return message


def test_defaults_fill_what_is_not_given(read):
    case = read(GOOD)
    assert (case.name, case.grid.n, case.flow.forcing.kind) == ("a", 64, "none")


def test_a_case_is_frozen(read):
    with pytest.raises(Exception, match="frozen"):
        read(GOOD).name = "b"


def test_whole_numbers_serve_as_real_ones_but_not_the_reverse(read):
    assert read('name = "a"\n[flow]\nreynolds = 1000\n').flow.reynolds == 1000.0
    assert "grid.n = 64.5" in complaint(read, GOOD + "[grid]\nn = 64.5\n")


def test_unknown_key_names_the_nearest_and_all_allowed(read):
    message = complaint(read, GOOD + "[grid]\nprecison = 'float32'\n")
    assert "grid.precison is not a setting" in message
    assert "did you mean precision?" in message
    assert "[grid] allows: dealias, n, precision" in message


def test_unknown_section_lists_the_sections(read):
    message = complaint(read, GOOD + "[gird]\nn = 32\n")
    assert "did you mean grid?" in message
    assert "flow, grid, name" in message


def test_unknown_key_of_a_choice_lists_that_choices_keys(read):
    message = complaint(read, GOOD + '[flow.forcing]\nkind = "ring"\nwavenumbr = 8\n')
    assert "flow.forcing.wavenumbr is not a setting" in message
    assert "did you mean wavenumber?" in message
    assert "[flow.forcing] allows: kind, wavenumber" in message


def test_unknown_kind_names_the_nearest_and_all_allowed(read):
    message = complaint(read, GOOD + '[flow.forcing]\nkind = "rng"\n')
    assert "flow.forcing.kind = 'rng'" in message
    assert "'none', 'ring'" in message
    assert "did you mean ring?" in message


def test_missing_kind_is_named(read):
    assert "flow.forcing.kind is missing" in complaint(
        read, GOOD + "[flow.forcing]\nwavenumber = 8\n"
    )


def test_wrong_word_lists_the_allowed_ones(read):
    message = complaint(read, GOOD + '[grid]\nprecision = "float46"\n')
    assert "grid.precision = 'float46'" in message
    assert "did you mean float64?" in message


def test_wrong_number_names_the_key_value_and_bound(read):
    message = complaint(read, GOOD + '[flow.forcing]\nkind = "ring"\nwavenumber = 0\n')
    assert "flow.forcing.wavenumber = 0" in message
    assert "greater than or equal to 1" in message


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_numbers_are_finite(read, number):
    assert "flow.reynolds" in complaint(read, f'name = "a"\n[flow]\nreynolds = {number}\n')


def test_every_fault_has_a_line(read):
    with pytest.raises(CaseError) as caught:
        read("[flow]\n")
    assert "name is missing" in str(caught.value)
    (more,) = caught.value.more
    assert "flow.reynolds is missing" in more
    assert in_lines(caught.value) == f"{caught.value}\n  also: {more}"
    again = pickle.loads(pickle.dumps(caught.value))  # as it goes from rank to rank
    assert in_lines(again) == in_lines(caught.value)


def test_checks_are_made_together():
    def fails(words, more=()):
        raise CaseError(words, more)

    together(lambda: None)
    with pytest.raises(CaseError, match="a") as caught:
        together(lambda: fails("a", ["b"]), lambda: None, lambda: fails("c"))
    assert caught.value.more == ("b", "c")


def test_not_toml_names_the_line(read):
    assert "line 1" in complaint(read, "name = \n")


def test_no_such_file(tmp_path):
    with pytest.raises(CaseError, match="no such case file"):
        load(tmp_path / "nothing.toml", Case)


def test_a_folder_is_not_a_case(tmp_path):
    with pytest.raises(CaseError, match="cannot be read"):
        load(tmp_path, Case)


# --- extends -------------------------------------------------------------------------------


def test_extends_lays_a_short_file_over_a_base(read):
    base = GOOD + '[grid]\nn = 32\ndealias = 2.0\n[flow.forcing]\nkind = "ring"\nwavenumber = 8\n'
    case = read('extends = "base.toml"\nname = "b"\n[grid]\nn = 128\n', base=base)
    assert (case.name, case.grid.n, case.grid.dealias) == ("b", 128, 2.0)
    assert case.flow.forcing.wavenumber == 8


def test_another_kind_replaces_the_whole_table(read):
    base = GOOD + '[flow.forcing]\nkind = "ring"\nwavenumber = 8\n'
    case = read('extends = "base.toml"\n[flow.forcing]\nkind = "none"\n', base=base)
    assert case.flow.forcing.kind == "none"


def test_a_table_without_kind_that_is_extended_by_another_kind_says_the_way_out(read):
    base = GOOD + "[flow.forcing]\nwavenumber = 8\n"
    above = 'extends = "base.toml"\n[flow.forcing]\nkind = "none"\n'
    assert 'name its kind there: kind = "' in complaint(read, above, base=base)
    kind = complaint(read, above, base=base).split('there: kind = "')[1].split('"')[0]
    mended = base.replace("wavenumber", f'kind = "{kind}"\nwavenumber')
    assert read(above, base=mended).flow.forcing.kind == "none"


def test_a_table_of_the_default_kind_need_not_name_it(tmp_path):
    """It is replaced by one of another kind, and a table of the default kind is laid over it."""
    base = tmp_path / "base.toml"
    text = write_case(tmp_path).read_text()
    base.write_text(text + "\n[network]\ndepth = 3\n")
    above = tmp_path / "above.toml"
    above.write_text('extends = "base.toml"\n[network]\nkind = "unet"\n')
    assert load_case(above).network.kind == "unet"
    above.write_text('extends = "base.toml"\n[network]\nkind = "cnn"\nwidth = 5\n')
    network = load_case(above).network
    assert (network.kind, network.depth, network.width) == ("cnn", 3, 5)


def test_settings_are_listed_as_a_case_file_calls_them():
    listed = names_of(NETWORKS["user"].Settings)
    assert "class" in listed and "class_name" not in listed


def test_merge_leaves_both_trees_alone():
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(below, above) == {"a": {"b": 1, "c": 2}}
    assert (below, above) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_extends_in_a_circle_shows_the_chain(read):
    message = complaint(
        read, 'extends = "one.toml"\n', one='extends = "two.toml"\n', two='extends = "one.toml"\n'
    )
    assert "circle" in message
    assert "one.toml -> two.toml -> one.toml" in message


def test_extends_what_is_not_there(read):
    assert "gone.toml: no such case file" in complaint(read, 'extends = "gone.toml"\n' + GOOD)


# --- overrides -----------------------------------------------------------------------------


def test_overrides_replace_settings(read):
    case = read(GOOD, ["grid.n=256", "grid.precision=float32", "flow.forcing={kind='ring'}"])
    assert (case.grid.n, case.grid.precision, case.flow.forcing.wavenumber) == (256, "float32", 4)


class Pace(Section):
    ALTERNATIVES = (("dt", "cfl"),)

    dt: float | None = None
    cfl: float | None = None


class Paced(Section):
    name: str
    pace: Pace = Pace()


@pytest.mark.parametrize(
    ("above", "overrides", "dt", "cfl"),
    [
        ("", [], 0.1, None),
        ("[pace]\ncfl = 0.5\n", [], None, 0.5),
        ("", ["pace.cfl=0.5"], None, 0.5),
        ("", ["pace={cfl=0.5}"], None, 0.5),
        ("[pace]\ncfl = 0.5\n", ["pace.dt=0.2"], 0.2, None),
        ("[pace]\ncfl = 0.5\ndt = 0.3\n", [], 0.3, 0.5),
        ("", ["pace.cfl=0.5", "pace.dt=0.2"], 0.2, 0.5),
    ],
)
def test_an_alternative_takes_the_place_of_the_other(tmp_path, above, overrides, dt, cfl):
    """What one place gives both of stays: the section itself says what is wrong with it."""
    (tmp_path / "base.toml").write_text('name = "a"\n[pace]\ndt = 0.1\n')
    (tmp_path / "case.toml").write_text(f'extends = "base.toml"\n{above}')
    pace = load(tmp_path / "case.toml", Paced, overrides).pace
    assert (pace.dt, pace.cfl) == (dt, cfl)


@pytest.mark.parametrize("given", ["pace.cfl=0.5", "pace.dt=0.2"])
def test_a_value_in_place_of_a_table_is_told_after_an_override_in_it(tmp_path, given):
    (tmp_path / "case.toml").write_text('name = "a"\n[pace]\ndt = 0.1\n')
    with pytest.raises(CaseError, match="pace = 3"):
        load(tmp_path / "case.toml", Paced, [given, "pace=3"])


@pytest.mark.parametrize("override", ["grid.n", "=3", "grid..n=3", ".=1"])
def test_malformed_override_shows_the_form(read, override):
    message = complaint(read, GOOD, [override])
    assert repr(override) in message
    assert "section.key=value" in message


def test_override_below_a_value(read):
    assert "name is a value, not a section" in complaint(read, GOOD, ["name.first=x"])


def test_misspelt_override_is_an_unknown_key(read):
    assert "[grid] allows: dealias, n, precision" in complaint(read, GOOD, ["grid.m=1"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("[64, 128]", [64, 128]),
        ("true", True),
        ("ab2cn", "ab2cn"),
        ("'x y'", "x y"),
    ],
)
def test_override_values_are_toml_or_a_bare_word(text, value):
    tree: dict = {}
    apply_override(tree, f"a.b={text}")
    assert tree == {"a": {"b": value}}


# --- registries ----------------------------------------------------------------------------


def test_registry_builds_what_the_settings_name():
    built = FORCINGS.build(Ring.Settings(wavenumber=3), 2.0)
    assert isinstance(built, Ring)
    assert built.amplitude == 6.0


def test_registry_names_the_nearest():
    with pytest.raises(
        CaseError, match=r"no forcing named 'rings'; allowed: none, ring.*mean ring"
    ):
        FORCINGS["rings"]


def test_one_entry_is_a_choice_too():
    only: Registry[object] = Registry("forcing", {"ring": Ring})

    class Holder(Section):
        forcing: Annotated[Section, Choice(only)] = Ring.Settings()

    assert Holder.model_validate({"forcing": {"kind": "ring"}}).forcing.wavenumber == 4


# --- provenance ----------------------------------------------------------------------------


def test_digest_does_not_depend_on_the_order_of_keys():
    assert provenance.digest({"a": 1, "b": [2]}) == provenance.digest({"b": [2], "a": 1})
    assert provenance.digest({"a": 1}) != provenance.digest({"a": 2})


def test_differences_name_each_leaf():
    old = {"grid": {"n": 128}, "name": "a", "list": [1]}
    new = {"grid": {"n": 256}, "name": "a", "list": [1, 2]}
    assert provenance.differences(old, new) == [
        "grid.n was 128, is now 256",
        "list was [1], is now [1, 2]",
    ]
    one, other = {"kind": "fftw"}, {"compile": True, "kind": "torch"}
    kind = 'transform.kind was "fftw", is now "torch"'
    assert provenance.differences(one, other, "transform")[0] == kind


def test_a_mesh_that_a_device_cannot_have_is_refused_with_what_to_do():
    settings = TRANSFORMS.settings("torch", mesh=[1, 2])
    with pytest.raises(CaseError, match='mesh = "auto", or'):
        settings.mesh_shape(2, 4, 64)
    with pytest.raises(CaseError, match=r"start at most 1 rank\(s\), or"):
        settings.mesh_shape(2, 1, 64)


def test_an_example_leaves_what_it_extends_as_it_is(tmp_path):
    (tmp_path / "quickstart.toml").write_text("seed = 9\n")
    assert written("shared_dns", tmp_path).startswith("wrote shared_dns.toml; next")
    assert (tmp_path / "quickstart.toml").read_text() == "seed = 9\n"
    with pytest.raises(CaseError, match=r"shared_dns\.toml is here already"):
        written("shared_dns", tmp_path)


def test_versions_are_known():
    assert provenance.code_version()
    found = provenance.library_versions()
    assert "absent" not in found.values()
    assert {"python", "numpy", "numba", "torch", "h5py"} <= found.keys()


def test_file_digest(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert provenance.file_digest(path).startswith("ba7816bf")


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (0.5, 0.02, ("0.5", "0.02")),
        (0.02, 0.019998, ("0.02", "0.019998")),
        (1.0, 1.0, ("1", "1")),
        (1.0, 1.0 - 2**-53, ("1", "0.9999999999999999")),
        (float("nan"), float("nan"), ("nan", "nan")),
    ],
)
def test_numbers_that_differ_look_different(one, other, texts):
    assert apart(one, other) == texts
