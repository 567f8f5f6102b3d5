"""`${…}` in configs: variables, the environment, secrets."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass

import pytest

from exporters_beam.components.options import option
from exporters_beam.components.secret import Secret, holds_secret, reveal
from exporters_beam.config.variables import fill
from exporters_beam.errors import ConfigError


def filled(document, variables=None, environ=None):
    result = fill(document, variables or {}, environ or {})
    assert result.problems == []
    return result.value


def faults(document, variables=None, environ=None):
    return fill(document, variables or {}, environ or {}).problems


def test_a_reference_that_is_the_whole_string_keeps_the_type():
    config = {
        "vars": {"n": 5, "on": True, "keys": ["a", {"b": None}]},
        "x": ["${vars.n}", "${vars.on}", "${vars.keys}"],
    }
    assert filled(config)["x"] == [5, True, ["a", {"b": None}]]


def test_a_reference_inside_a_string_becomes_text():
    config = {
        "vars": {"n": 5, "day": "mon", "on": True, "f": 1.5},
        "x": "out/${vars.day}-${vars.n}-${vars.on}-${vars.f}",
    }
    assert filled(config)["x"] == "out/mon-5-true-1.5"


def test_only_string_values_are_looked_into():
    config = {"vars": {"n": "v"}, "${vars.n}": 1, "x": {"${vars.n}": "${vars.n}"}, "y": 5}
    assert filled(config) == {"vars": {"n": "v"}, "${vars.n}": 1, "x": {"${vars.n}": "v"}, "y": 5}


def test_other_braces_stay_as_they_are():
    for text in ("${x}", "${}", "${groups[0]}", "$vars.n", "{vars.n}", "${vars.n", "$", "${a}${b}", "{groups[0]}/%Y"):
        assert filled({"x": text})["x"] == text


def test_a_literal_reference_is_escaped():
    assert filled({"vars": {"n": 1}, "x": "$${vars.n} ${vars.n}"})["x"] == "${vars.n} 1"
    assert filled({"x": "$${"})["x"] == "${"
    assert filled({"x": "$$${vars.n}"})["x"] == "$${vars.n}"


def test_variables_may_refer_to_variables_and_to_their_members():
    config = {
        "vars": {"a": "${vars.b}!", "b": "${vars.c.d}", "c": {"d": "deep", "e": "${vars.c.d}er"}, "g": "${vars.c}"},
        "x": "${vars.a}",
        "y": "${vars.c.e}",
        "z": "${vars.g.e}",
    }
    value = filled(config)
    assert (value["x"], value["y"], value["z"]) == ("deep!", "deeper", "deeper")


def test_what_a_variable_holds_is_not_shared_by_the_places_that_refer_to_it():
    value = filled({"vars": {"keys": [{"a": 1}]}, "x": "${vars.keys}", "y": "${vars.keys}"})
    value["x"][0]["a"] = 2
    assert value["y"] == [{"a": 1}]


def test_the_given_document_is_left_as_it_is():
    config = {"vars": {"n": {"m": "${vars.o}"}, "o": 1}, "x": ["${vars.n}"]}
    before = copy.deepcopy(config)
    fill(config, {"n.m": 3}, {})
    assert config == before


def test_a_variable_that_does_not_exist():
    config = {"vars": {"bucket": 1}, "x": ["${vars.buket}", "${vars.bucket.name}"], "y": "${vars.buket}"}
    assert faults(config) == [
        (("x", 0), 'there is no variable vars.buket; did you mean "vars.bucket"?'),
        (("x", 1), "there is no variable vars.bucket.name"),
        (("y",), 'there is no variable vars.buket; did you mean "vars.bucket"?'),
    ]
    assert faults({"x": "${vars.a}"}) == [(("x",), "there is no variable vars.a")]


def test_what_is_wrong_in_a_variable_is_told_once_and_there():
    config = {"vars": {"a": "${vars.b}", "b": {"c": "${env:NO}"}}, "x": "${vars.a}", "y": "${vars.b.c}"}
    result = fill(config, {}, {})
    assert [path for path, _ in result.problems] == [("vars", "b", "c")]
    assert {("x",), ("y",)} <= result.failed


@pytest.mark.parametrize("variables", [
    {"a": "${vars.a}"},
    {"a": "${vars.b}", "b": "x${vars.c}", "c": "${vars.a}"},
    {"a": {"b": "${vars.a}"}},
    {"a": {"b": "${vars.a.b}"}},
    {"a": "${vars.a.b}"},
])  # fmt: skip
def test_circles_are_refused(variables):
    found = faults({"vars": variables, "x": "${vars.a}"})
    assert len(found) == 1
    assert "variables refer to each other in a circle: a" in found[0][1]


def test_long_chains_and_explosions_are_refused():
    chain = {f"v{n}": f"${{vars.v{n + 1}}}" for n in range(1000)} | {"v1000": 1}
    assert any("in a row" in message for _, message in faults({"vars": chain}))
    texts = {f"v{n}": f"${{vars.v{n + 1}}}${{vars.v{n + 1}}}" for n in range(40)} | {"v40": "x"}
    assert "stand for more than 1,000,000" in faults({"vars": texts})[-1][1]
    lists = {f"v{n}": [f"${{vars.v{n + 1}}}"] * 2 for n in range(40)} | {"v40": "x"}
    assert "stand for more than 1,000,000" in faults({"vars": lists})[-1][1]


def test_lists_and_null_cannot_stand_inside_text():
    assert faults({"vars": {"l": [1], "n": None}, "x": "a${vars.l}", "y": "a${vars.n}"}) == [
        (("x",), "${vars.l} is a list, which cannot stand inside a longer text"),
        (("y",), "${vars.n} is null, which cannot stand inside a longer text"),
    ]


def test_the_environment_is_read_where_the_config_allows_it():
    assert filled({"env": ["DAY"], "x": "${env:DAY}/${env:DAY}"}, environ={"DAY": "mon"})["x"] == "mon/mon"
    assert faults({"env": ["DAY"], "x": "${env:DYA}"}, environ={"DYA": "canary"}) == [
        (("x",), '${env:DYA} is not allowed; did you mean "DAY"?; add "DYA" to the top-level list `env` to allow it')
    ]
    assert faults({"env": ["DAY"], "x": "${env:DAY}"}) == [(("x",), "${env:DAY}: this environment variable is not set")]


def test_what_the_environment_holds_is_not_looked_into():
    environ = {"A": "${vars.n} ${secret:env:PW}"}
    assert filled({"env": ["A"], "vars": {"n": 1}, "x": "${env:A}"}, environ=environ)["x"] == environ["A"]
    value = filled({"env": ["A"], "vars": {"n": 1}, "x": "${env:A}${secret:env:PW}"}, environ=environ)["x"]
    assert value.resolve({"PW": "s3same"}) == environ["A"] + "s3same"


def test_variables_from_outside_win():
    config = {"vars": {"n": 1, "db": {"host": "a", "port": 1}}, "x": "${vars.n}", "y": "${vars.db}", "z": "${vars.new}"}
    value = filled(config, {"n": 2, "db.host": "b", "new": "${vars.n}"})
    assert (value["x"], value["y"], value["z"]) == (2, {"host": "b", "port": 1}, 2)


def test_a_variable_from_outside_that_nothing_uses_is_a_problem():
    result = fill({"vars": {"bucket": 1}, "x": "${vars.bucket}"}, {"buckt": 2, "bucket": 3}, {})
    assert result.problems == [(("vars", "buckt"), 'nothing uses this variable; did you mean "bucket"?')]


def test_spellings_that_are_almost_references_are_warnings():
    result = fill({"x": ["${var.n}", "${env.HOME}", "${secrets:env:PW}", "${variance}"]}, {}, {})
    assert [(path, message.partition("did you mean")[2]) for path, message in result.warnings] == [
        (("x", 0), " ${vars.name}?"),
        (("x", 1), " ${env:NAME}?"),
        (("x", 2), " ${secret:env:NAME}?"),
    ]
    assert result.value["x"][0] == "${var.n}"


def test_wrong_vars_and_env_sections():
    assert faults({"vars": [1], "env": "HOME"}) == [
        (("vars",), "wrong type: found a list, expected a mapping of names to values"),
        (("env",), "wrong type: expected a list of names of environment variables"),
    ]
    assert faults({"vars": None, "env": None}) == []


def test_a_secret_is_a_reference_until_it_is_resolved():
    value = filled({"x": "ftp://me:${secret:env:PW}@host/$${x}"}, environ={"PW": "canary"})["x"]
    assert isinstance(value, Secret)
    told = f"{value} {value!r} {value!s} {json.dumps(value)} {pickle.dumps(value)!r} {copy.deepcopy(value)}"
    assert "canary" not in told
    assert "secret:env:PW" in told
    assert pickle.loads(pickle.dumps(value)).resolve({"PW": "canary"}) == "ftp://me:canary@host/${x}"
    with pytest.raises(AttributeError):
        value.other = 1


def test_secrets_travel_through_variables():
    config = {"vars": {"pw": "${secret:env:PW}", "url": "x-${vars.pw}"}, "x": "${vars.pw}", "y": "a-${vars.url}"}
    value = filled(config)
    assert value["x"].resolve({"PW": "p"}) == "p"
    assert value["y"].resolve({"PW": "p"}) == "a-x-p"


def test_secrets_from_files(tmp_path):
    path = tmp_path / "pw"
    path.write_text("geh\u00e9im\n\n", encoding="utf-8")
    assert Secret(f"${{secret:file:{path}}}").resolve() == "gehéim\n"
    with pytest.raises(ConfigError, match="cannot be read where the export runs: No such file"):
        Secret(f"${{secret:file:{tmp_path}/nope}}").resolve()


def test_secrets_that_are_not_there():
    for environ in ({}, {"PW": ""}):
        with pytest.raises(ConfigError, match="the environment variable PW is not set where the export runs"):
            Secret("${secret:env:PW}").resolve(environ)


def test_secret_references_are_checked_when_loading():
    found = faults({"x": ["${secret:vault:a}", "${secret:env:A B}", "${secret:file:relative}", "${secret:gcp:}"]})
    assert [message for _, message in found] == [
        "${secret:vault:a}: there is no store of secrets called 'vault'; known: env, file, gcp, aws",
        "${secret:env:A B}: 'A B' is not a valid name of an environment variable",
        "${secret:file:relative}: give the whole path, from / on; workers run in other folders",
        "${secret:gcp:}: the secret's name is missing",
    ]
    found = faults({"x": ["${secret:gcp:s}", "${secret:gcp:projects/p/secrets/s#}", "${secret:aws:a b}"]})
    assert [message for _, message in found] == [
        "${secret:gcp:s}: give projects/PROJECT/secrets/NAME, and /versions/VERSION for another than the latest",
        "${secret:gcp:projects/p/secrets/s#}: the name of the member of its JSON is missing behind #",
        "${secret:aws:a b}: 'a b' is not a name of a secret, nor its ARN",
    ]
    right = ["gcp:projects/p/secrets/s", "gcp:projects/1/locations/europe-west1/secrets/s/versions/3#a", "aws:prod/db#a",
             "aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"]  # fmt: skip
    assert faults({"x": [f"${{secret:{name}}}" for name in right]}) == []


@dataclass(frozen=True, kw_only=True)
class Login:
    """A component with a secret."""

    user: str = option("who")
    password: str = option("the secret", secret=True)
    hosts: tuple[str, ...] = option("where", type="str_list", default=())
    more: dict = option("anything", type="dict", default={})

    def __post_init__(self) -> None:
        if not isinstance(self.password, Secret) and len(self.password) < 3:
            raise ConfigError("password: it is too short")


def test_reveal_resolves_a_whole_component():
    component = Login(user="me", password=Secret("${secret:env:PW}"), hosts=("a", Secret("${secret:env:H}")),
                      more={"k": [Secret("${secret:env:H}")]})  # fmt: skip
    assert holds_secret(component.more)
    opened = reveal(component, {"PW": "s3same", "H": "b"})
    assert opened == Login(user="me", password="s3same", hosts=("a", "b"), more={"k": ["b"]})
    assert component.password == "${secret:env:PW}"
    plain = Login(user="me", password="xyz")
    assert reveal(plain, {}) is plain
    with pytest.raises(ConfigError, match="too short"):
        reveal(component, {"PW": "x", "H": "b"})
