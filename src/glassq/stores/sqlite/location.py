"""Where the file is, and whether it may be used: links, foreign files and network disks are refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import msgspec

from glassq.errors import BadOption, ConfigurationError, StorageUnavailable
from glassq.model.names import nearest

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs"}
_MOUNTS = Path("/proc/self/mountinfo")

RIGHT_URLS = (
    "sqlite:///jobs.db (relative), sqlite:////var/lib/app/jobs.db (absolute) or sqlite:// (in memory)"
)


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed URL. `path=None` is a store in memory, for one process."""

    path: Path | None
    synchronous: str = "normal"
    """`normal` survives the crash of a process, `full` survives the loss of power (one fsync a commit)."""
    allow_network: bool = False
    grace: bool = True
    """Whether who holds a lane gets one fresh lease after a jump of the clock, or after nothing was heard for
    longer than a lease; without it a lease ends when it ends. Not for workers: they renew theirs."""

    @classmethod
    def parse(cls, url: str) -> Location:
        """From `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite://`, with options after a `?`."""
        rest = url.removeprefix("sqlite://")
        if rest == url:
            raise BadOption("url", f"{url!r} is not a SQLite URL; use {RIGHT_URLS}")
        text, _, query = rest.partition("?")
        options = _options(query)
        synchronous = options.get("synchronous", "normal")
        allow_network = options.get("allow_network") == "1"
        if text == "":
            return cls(path=None)
        if not text.startswith("/") or text == "/":
            raise BadOption("url", f"{url!r} names no file; use {RIGHT_URLS}")
        return cls(path=Path(unquote(text[1:])), synchronous=synchronous, allow_network=allow_network)

    def __str__(self) -> str:
        return f"sqlite:///{self.path}" if self.path else "sqlite://"


def _options(query: str) -> dict[str, str]:
    known = {"synchronous": ("normal", "full"), "allow_network": ("0", "1")}
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise BadOption(name, "is not an option of a SQLite URL", nearest(name, known))
        if value not in known[name]:
            raise BadOption(name, f"is one of {', '.join(known[name])}, got {value!r}")
        options[name] = value
    return options


def prepare(location: Location) -> Path:
    """Make the file (0600, its directories 0700) if it is missing; refuse what is not safely ours."""
    assert location.path is not None  # noqa: S101 - callers handle the store in memory before
    path = Path(os.path.abspath(location.path))  # noqa: PTH100 - resolve() would follow the links refused below
    try:
        _make_directory(path.parent)
        _refuse_network(path, allowed=location.allow_network)
        _create(path)
        _refuse_foreign(path)
    except OSError as error:
        raise StorageUnavailable(
            f"cannot use {path}: {error.strerror}; check the path and its rights", "io"
        ) from error
    return path


def _make_directory(directory: Path) -> None:
    """`mkdir -p` whose every new directory is private (`parents=True` would leave those to the umask)."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def _create(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        return


def _refuse_foreign(path: Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise ConfigurationError(f"{path} is a symbolic link; name the file itself")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path} is not a regular file; name a file")
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to another user (uid {status.st_uid}); use a file of your own"
        )
    if not os.access(path, os.R_OK | os.W_OK) or not status.st_mode & stat.S_IWUSR:
        raise StorageUnavailable(f"{path} is read-only; give its owner the right to write", "readonly")
    if not os.access(path.parent, os.W_OK):
        raise StorageUnavailable(
            f"{path} needs its log and bells beside it, and {path.parent} is read-only; give its owner the "
            "right to write there",
            "readonly",
        )


def _refuse_network(path: Path, *, allowed: bool) -> None:
    kind = _filesystem(path)
    if kind in _NETWORK and not allowed:
        raise ConfigurationError(
            f"{path} is on a network filesystem ({kind}), where SQLite's locks cannot be trusted; use a "
            "local disk or Redis, or add ?allow_network=1 if only one host ever opens it"
        )


def _filesystem(path: Path) -> str | None:
    """The type of the filesystem that holds `path`, where the system tells (Linux)."""
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return None
    best, kind = -1, None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        mount = fields.split()[4].replace("\\040", " ")
        if len(mount) > best and path.is_relative_to(mount):
            best, kind = len(mount), rest.split()[0]
    return kind
