"""What can be set, called, run or met is documented, and what is documented exists."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from api.app import create_app
from api.config import PREFIX, ApiConfig
from plaudit.cli import main
from plaudit.commands.load import load
from plaudit.settings import NAMES, Settings, variable

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NO_CODES = {"MAX_CONTENT_LENGTH", "SASL_PLAINTEXT", "SASL_SSL", "MALLOC_ARENA_MAX"}
SHORT_CODES = {"CONFLICT", "FORBIDDEN", "UNAUTHORIZED", "SKIPPED"}


def text_of(name):
    return (ROOT / name).read_text()


def rows_of(name):
    """Return the first cells of all table rows, without their backquotes."""
    return re.findall(r"^\| `([^`]+)`", text_of(name), re.MULTILINE)


def test_every_setting_is_documented_with_its_default():
    api = [field.name for field in fields(ApiConfig) if field.name != "partitions"]
    wanted = {variable(name) for name in NAMES}
    wanted |= {PREFIX + name.upper() for name in api}
    assert set(rows_of("docs/settings.md")) == wanted
    table = text_of("docs/settings.md")
    for name in set(NAMES) - {"fault", "redis_url"}:
        assert f"| `{variable(name)}` | `{getattr(Settings(), name)}` |" in table
    for name in api:
        assert f"| `{PREFIX}{name.upper()}` | `{getattr(ApiConfig(), name)}` |" in table


def test_every_field_of_the_settings_has_a_variable():
    assert {field.name for field in fields(Settings)} == {*NAMES, "api"}


def routes():
    app = create_app(
        ApiConfig(),
        writer=object(),
        view=object(),
        secrets=object(),
        end_offset=lambda _topic, _partition: 0,
    )
    for rule in app.url_map.iter_rules():
        path = re.sub(
            r"<(\w+)>",
            lambda match: "{" + re.sub(r"_(\w)", _upper, match[1]) + "}",
            rule.rule,
        )
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            yield f"{method} {path}"


def _upper(match):
    return match[1].upper()


def test_every_route_is_documented():
    assert sorted(rows_of("docs/api.md")) == sorted(routes())


def commands(group=main, words=("plaudit",)):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        elif not command.hidden:
            yield " ".join((*words, name)), command


def test_every_command_is_documented():
    headings = re.findall(r"^## (plaudit .*)$", text_of("docs/commands.md"), re.M)
    assert sorted(headings) == sorted(name for name, _ in commands())


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_option_of_a_command_is_documented(name):
    text = text_of("docs/commands.md")
    section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
    shared = {"--data-dir", "--json", "--help"}
    for option in dict(commands())[name].params:
        if isinstance(option, click.Option) and not option.hidden:
            assert set(option.opts) & shared or option.opts[0] in section, option.opts


def codes():
    """Return every string in the code that is an error code."""
    for package in ("rules", "streams", "api", "plaudit"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    value = node.value
                    if value in SHORT_CODES or (
                        re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", value)
                        and not value.startswith(("PLAUDIT_", "SQLITE_", "AWS_"))
                    ):
                        yield value


def test_every_error_code_is_documented():
    documented = re.findall(
        r"`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*)`", text_of("docs/errors.md")
    )
    documented = {c for c in documented if not c.startswith("PLAUDIT_")}
    assert documented == set(codes()) - NO_CODES


def test_the_first_screen_has_both_commands_and_they_exist():
    readme = text_of("README.md")
    makefile = text_of("Makefile")
    named = re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE)
    assert {"run", "test"} <= set(named)
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    first_screen = "\n".join(readme.splitlines()[:40])
    assert first_screen.count("\ncurl ") == 3


def test_the_load_that_the_readme_shows_is_a_good_command():
    (line,) = re.findall(r"^\.venv/bin/plaudit load (.*)$", text_of("README.md"), re.M)
    words = line.split()
    words[0] = str(ROOT / "README.md")
    load.make_context("load", words)


@pytest.mark.parametrize(
    "name", ["README.md", *(str(p.relative_to(ROOT)) for p in DOCS.rglob("*.md"))]
)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)", text_of(name)):
        if "://" not in target:
            assert (ROOT / name).parent.joinpath(target).exists(), target


def test_the_changelog_speaks_of_this_version():
    pyproject = text_of("pyproject.toml")
    version = re.search(r'^version = "(.*)"$', pyproject, re.MULTILINE)[1]
    section = text_of("CHANGELOG.md").partition(f"## {version}\n")[2]
    for heading in ("Added", "Changed", "Fixed", "State format"):
        assert f"### {heading}\n" in section
