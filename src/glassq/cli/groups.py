"""Groups of commands: the whole of `glassq`, and those below it such as `glassq dead`."""

from __future__ import annotations

import click

from glassq.model.names import nearest


class Commands(click.Group):
    """A group whose unknown commands name the nearest known one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a better message."""
        name = args[0]
        if self.get_command(ctx, name) is None:
            near = nearest(name, self.commands)
            hint = f"; did you mean {near!r}?" if near else ""
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order a newcomer needs them, not by the alphabet."""
        return list(self.commands)
