"""Groups of commands: the whole of `glassq`, and those below it such as `glassq dead`."""

from __future__ import annotations

import click

from glassq.model.names import nearest


class Commands(click.Group):
    """A group whose unknown commands name the nearest known one, and that alone shows its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but that its help is no message of an error, in any of click's versions."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

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
