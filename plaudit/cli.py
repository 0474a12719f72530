"""The `plaudit` command line. Each command stands in a module of plaudit/commands/.

A module is imported when its command is asked for: `plaudit token` need not wait for
what only the worker uses.
"""

from importlib import import_module
from typing import Any, Final

import click

from plaudit.errors import exit_code, message_of
from rules.errors import PlauditError

COMMANDS: Final = {
    "init": "init",
    "run": "run",
    "worker": "worker",
    "api": "api",
    "load": "load",
    "token": "token",
    "orgs": "orgs",
    "keys": "keys",
    "status": "status",
    "dead": "dead",
    "skip": "skip",
    "rebuild": "rebuild",
    "snapshots": "snapshots",
    "mirror": "mirror",
    "seed-demo": "demo",
}
"""Command -> module of plaudit.commands; it stands there under its own name."""


class Program(click.Group):
    """Finds commands, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None where there is none of that name."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        found: click.Command = getattr(
            import_module(f"plaudit.commands.{module}"), cmd_name.replace("-", "_")
        )
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see plaudit/errors.py for how it may end."""
        try:
            return super().invoke(ctx)
        except (PlauditError, OSError) as error:
            stopped = click.ClickException(message_of(error))
            stopped.exit_code = exit_code(error)
            raise stopped from error


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="plaudit")
def main() -> None:
    """Plaudit: a loyalty and gamification engine.

    `plaudit run` starts everything. Settings also come from the environment; each
    option shows its variable. Exit codes: 0 done, 1 not done, 2 cannot work as asked.
    """
