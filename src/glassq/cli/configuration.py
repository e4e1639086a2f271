"""The reference of the configuration file, taken from its table of fields.
`python -m glassq.cli.configuration` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from glassq.config.environment import PREFIX
from glassq.config.fields import CONFIGURATION
from glassq.config.files import MAX_BYTES
from glassq.config.kinds import Kind
from glassq.config.shapes import ByName, Either, Field, Group, InOrder, Several, Shape
from glassq.config.yamlfile import MAX_VALUES

EXAMPLE = """\
app: shop.jobs:app
store:
  url: ${STORE_URL:-redis://localhost:6379/0}
queues:
  payments: {max_length: 100000, max_age: 60, max_blocked: 30}
  mails:
workers:
  - name: payments
    queues: [payments]
    concurrency: 8
  - name: mails
    queues: [mails, payments]
http:
  port: 9464
drain: 30s
"""

_HEAD = f"""\
# The configuration file

Everything a worker process is given, in one file: `glassq worker --config glassq.yaml`. This page is
generated; change the table in `config/fields.py`, then run `python -m glassq.cli.configuration >
docs/reference/configuration.md`.

```yaml
{EXAMPLE}```

`glassq config check FILE` says everything that is wrong with a file, `glassq config show FILE` what is in
force and where each value comes from. See [Run several workers from one
file](../how-to/run-several-workers.md).

## What goes before what

1. options of `glassq worker`: MODULE:APP, `--drain`, `--http`, `--http-token-file`, `--health-file`,
   `--log-level`, `--log-format`;
2. variables `{PREFIX}...`;
3. the file;
4. what the application's code says, `$GLASSQ_URL` included;
5. the defaults below.

Options of queues and `retries` are laid over those in code one by one: an option that the file leaves out
stays as the code has it. What a decorator says of its own task is never changed.

## Values

- **Text** needs quotes where it looks like something else: `name: "7"`. Other values must not have any.
- **Seconds** are a number, or a number with one of `ms`, `s`, `m`, `h`, `d`, `w`: `1.5`, `500ms`, `15s`,
  `2m`. There is one unit: not `1m30s`.
- **Bytes** are a whole number, alone or with `B`, `KiB` or `MiB`.
- **True and false** are `true` and `false`. `yes`, `no`, `on` and `off` are text, as in YAML 1.2; so are
  `010`, `1_000` and `22:22`.
- `null`, or nothing, is the same as leaving a field out.

## The environment

`${{NAME}}` in a value is what the variable NAME holds; if it is not set, that is an error.
`${{NAME:-default}}` is `default` where NAME is not set or empty. `$${{` is the text `${{`; a `$` before
anything else is itself. Names of fields are never replaced. In YAML's braces a value with `${{...}}` needs
quotes.

A variable `{PREFIX}` with the path of a field, in upper case and with two underscores between its parts,
takes the place of that field. A queue or a worker is named by its name, with one underscore for all that is
neither a letter nor a digit:

| variable | field |
|---|---|
| `{PREFIX}STORE__URL` | `store.url` |
| `{PREFIX}QUEUES__MAIL_OUT__MAX_LENGTH` | `max_length` of the queue `mail.out` |
| `{PREFIX}WORKERS__PAYMENTS__CONCURRENCY` | `concurrency` of the worker `payments` |

Numbers and seconds are written as in the file; lists as words with commas between them. A variable that is
empty is none. One that leads to no field, or to a queue or worker that the file does not have, is an error.
Errors name the variable and do not show what it holds, but for names of queues and workers.

## Files

YAML (`.yaml`, `.yml`; the extra `cli`), TOML (`.toml`) and JSON (`.json`), in UTF-8, up to {MAX_BYTES:,}
bytes. Errors in YAML have the line of the field; those in TOML and JSON have its path, and a line where the
syntax is wrong.

In YAML, aliases and `<<` work, up to {MAX_VALUES:,} values with all aliases written out; names at the top
that begin with `x-` are left alone, as a place for what aliases repeat. A name that stands twice is an
error, and so are tags (`!!python/...`) and a second document.

## In code

```python
import glassq

configuration = glassq.config.load("glassq.yaml")  # or glassq.config.from_dict({{...}})
app = configuration.application()  # or configuration.apply(app), for one that exists
workers = configuration.workers(app)  # by name, not started
```

A dict has the same fields, checked alike; no variables are looked at. Errors are a `BadConfiguration`, whose
`problems` each have `file`, `line`, `variable`, `option` (the path), `problem` and `nearest`.
"""


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join([_HEAD, *_section(CONFIGURATION, "")])


def _section(group: Group, path: str) -> Iterator[str]:
    """The table of a group, and those of the groups below it."""
    title = f"`{path}`" if path else "At the top"
    yield from [f"## {title}", "", "| field | holds | default | meaning |", "|---|---|---|---|"]
    for field in group.fields:
        yield f"| `{field.name}` | {_holds(field.shape)} | {_default(field)} | {_cell(field.meaning)} |"
    yield ""
    for field in group.fields:
        below = f"{path}.{field.name}" if path else field.name
        shape = field.shape
        if isinstance(shape, Group):
            yield from _section(shape, below)
        elif isinstance(shape, Either):
            yield from _section(shape.group, below)
        elif isinstance(shape, ByName):
            yield from _section(shape.each, f"{below}.NAME")
        elif isinstance(shape, InOrder):
            yield from _section(shape.each, f"{below}[N]")


def _holds(shape: Shape) -> str:
    match shape:
        case Kind():
            return _cell(shape.says)
        case Several():
            return f"a list, each {shape.each.says}"
        case ByName():
            return "names, each with fields"
        case InOrder():
            return "a list, each with fields"
        case Either():
            return f"{shape.single.says}, or fields"
        case Group():
            return "fields"


def _default(field: Field) -> str:
    if field.required:
        return "**required**"
    if field.default is None:
        return ""
    return _cell(f"{field.default:g}" if isinstance(field.default, float) else str(field.default))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
