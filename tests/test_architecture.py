"""The rules that a reader may rely on without reading all the code, and proof that a breach is seen."""

from __future__ import annotations

import ast
import gc
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "settlement", "partners", "members", "ledger", "kit")
BELOW_THE_GATEWAY = PACKAGES[1:]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
NOT_OURS = {".venv", ".data", ".git", "__pycache__", "build", "dist", "node_modules"}

# What measures seconds of waiting or shows a share to a person is no value that anybody owns.
FLOATS_ALLOWED = {
    "kit/postgres.py": "seconds between two looks at a server that starts",
    "partners/directory.py": "seconds between two looks for changes",
    "members/guesses.py": "seconds between two looks at who guessed too often",
}
CLOCKS_ALLOWED = {
    "kit/clock.py": "the one place",
}
MONOTONIC_ALLOWED = {
    "kit/postgres.py": "patience with a server that starts",
    "kit/lane.py": "how long a batch took",
    "partners/directory.py": "when to ask again whether something changed",
    "members/guesses.py": "when to ask again who guessed too often",
}
SQL_ALLOWED = {
    "kit/database.py": "how a process reaches PostgreSQL",
    "kit/clock.py": "the business clock is a row",
    "kit/postgres.py": "databases are made and dropped with statements",
    "gateway/demo/data.py": "DuckDB is asked about the data set, not our database",
}


def modules(*packages: str) -> list[Path]:
    """The Python files of packages."""
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def name_of(path: Path) -> str:
    """A file's path as the lists above spell it."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def by_kind(module: ast.Module) -> dict[type[ast.AST], list[ast.AST]]:
    """The nodes of a tree by what they are. Many tests look through all files: one walk is enough for all of them."""
    kinds = defaultdict(list)
    for node in ast.walk(module):
        kinds[type(node)].append(node)
    return kinds


def nodes(module: ast.Module, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    """Those nodes of a tree that are of one of some kinds."""
    for kind in kinds:
        yield from by_kind(module).get(kind, ())


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Trees of all files are millions of objects, of which none is garbage while they are used: whoever looks for some
    need not look there. Tests that come later in this process need not drag them along."""
    gc.disable()
    yield
    tree.cache_clear()
    by_kind.cache_clear()
    gc.enable()


def found(paths: list[Path], breaches, allowed: dict[str, str] | None = None) -> list[str]:
    """Where `breaches(tree)` yields a node in a file that is not on the list, as path:line."""
    return [
        f"{name_of(path)}:{node.lineno}"
        for path in paths
        if name_of(path) not in (allowed or {})
        for node in breaches(tree(path))
    ]


def parsed(source: str) -> ast.Module:
    """The tree of an example."""
    return ast.parse(source)


# --- Who may import whom ------------------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the import contracts of a folder's pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def toy(folder: Path, contents: dict[str, str]) -> Path:
    """The six packages with every module that the contracts name, empty but for what is given."""
    named = {module for contract in CONTRACTS for key in ("source_modules", "protected_modules")
             for module in contract.get(key, ()) if "." in module}  # fmt: skip
    own = {module for contract in CONTRACTS for module in contract.get("forbidden_modules", ()) if "kit." in module}
    rooms = {f"{container}.{room.strip()}.furniture" for contract in CONTRACTS for layer in contract.get("layers", ())
             for room in layer.split("|") for container in contract.get("containers", ())}  # fmt: skip
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("")
    for module in named | own | rooms | set(contents):
        file = folder.joinpath(*module.split(".")).with_suffix(".py")
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True)
            file.with_name("__init__.py").write_text("")
        file.write_text(contents.get(module, ""))
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text[text.index("[tool.importlinter]") :])
    return folder


def broken(output: str) -> set[str]:
    """Names of the contracts that the report calls broken."""
    return set(re.findall(r"^(.+?) BROKEN", output, re.MULTILINE))


def test_every_import_contract_is_kept():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_toy_of_the_same_shape_keeps_every_contract(tmp_path):
    done = lint_imports(toy(tmp_path, {}))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_sees_its_breach(tmp_path):
    breaches = {
        "kit.toy": "import ledger\n",
        "ledger.toy": "import starlette\n",
        "members.tiers": "from kit import database\n",
        "partners.receipts.toy": "import partners.tills\n",
        **{f"gateway.reads_{package}": f"import {package}.store\n" for package in BELOW_THE_GATEWAY[:-1]},
    }
    done = lint_imports(toy(tmp_path, breaches))
    assert done.returncode == 1
    assert broken(done.stdout) == {contract["name"] for contract in CONTRACTS}


def test_a_decision_that_reaches_the_database_through_another_module_is_seen(tmp_path):
    breaches = {"partners.decisions.earning": "from partners import shelf\n", "partners.shelf": "import sqlalchemy\n"}
    done = lint_imports(toy(tmp_path, breaches))
    assert broken(done.stdout) == {"Decisions touch no database, no clock, no web"}


def test_what_calls_itself_pure_is_under_the_contract_and_the_other_way_round():
    said = {
        name_of(path).removesuffix(".py").replace("/", ".")
        for path in modules(*BELOW_THE_GATEWAY)
        if (ast.get_docstring(tree(path)) or "").startswith("PURE")
    }
    [contract] = [contract for contract in CONTRACTS if contract["name"].startswith("Decisions")]
    assert said == set(contract["source_modules"])


def imported(node: ast.AST) -> list[str]:
    """Full names that an import statement may mean."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def foreign_stores(package: str, module: ast.Module) -> Iterator[ast.AST]:
    """Imports of another package's store."""
    for node in nodes(module, ast.Import, ast.ImportFrom):
        for name in imported(node):
            owner, *rest = name.split(".")
            if owner in PACKAGES and owner != package and rest and rest[-1].endswith("store"):
                yield node


def test_a_store_is_imported_by_its_own_package_only():
    breaches = [
        f"{name_of(path)}:{node.lineno}"
        for package in PACKAGES
        for path in modules(package)
        for node in foreign_stores(package, tree(path))
    ]
    assert breaches == []
    assert list(foreign_stores("gateway", parsed("from ledger import cutoff_store")))
    assert not list(foreign_stores("ledger", parsed("from ledger import cutoff_store")))


# --- Value, time and SQL ------------------------------------------------------------------------------------


def floats(module: ast.Module) -> Iterator[ast.AST]:
    """Float literals, the word float, and divisions that would make one."""
    for node in nodes(module, ast.Constant, ast.Name, ast.BinOp, ast.AugAssign):
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        word = isinstance(node, ast.Name) and node.id == "float"
        division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        if literal or word or (division and not joins_paths(node)):
            yield node


def joins_paths(node: ast.AST) -> bool:
    """Whether a slash has a text or something called a folder or path beside it."""
    words = [
        part for part in ast.walk(node) if isinstance(part, ast.Constant | ast.Name | ast.Attribute | ast.JoinedStr)
    ]
    return any(
        isinstance(part, ast.JoinedStr)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        or re.search(r"folder|path|parent|root|fresh|programs|unfinished|\bHERE\b", ast.unparse(part), re.IGNORECASE)
        for part in words
    )


def test_no_float_below_the_gateway():
    assert found(modules(*BELOW_THE_GATEWAY), floats, FLOATS_ALLOWED) == []


@pytest.mark.parametrize("example", ["a = 0.5", "def f(x: float): ...", "a = points / 100", "a /= 2"])
def test_a_float_would_be_seen(example):
    assert list(floats(parsed(example)))


def last_word(node: ast.AST) -> str:
    """What stands after the last full stop of an expression."""
    return ast.unparse(node).split(".")[-1]


WALL = {
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
    ("time", "time"), ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"),
}  # fmt: skip
MONOTONIC = {("time", name) for name in ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")}


def readings(of: set[tuple[str, str]]):
    """What finds readings of these clocks, also when the function was imported by name."""

    names = {name for _, name in of}

    def breaches(module: ast.Module) -> Iterator[ast.AST]:
        for node in nodes(module, ast.Attribute):
            if node.attr in names and (last_word(node.value), node.attr) in of:
                yield node
        for node in nodes(module, ast.ImportFrom):
            if any((node.module, alias.name) in of for alias in node.names):
                yield node

    return breaches


def test_the_wall_clock_is_read_in_one_place_below_the_gateway():
    assert found(modules(*BELOW_THE_GATEWAY), readings(WALL), CLOCKS_ALLOWED) == []
    assert found(modules(*BELOW_THE_GATEWAY), readings(MONOTONIC), MONOTONIC_ALLOWED) == []


@pytest.mark.parametrize(
    "example",
    [
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "date.today()",
        "time.time()",
        "from time import time",
    ],
)
def test_a_reading_of_the_clock_would_be_seen(example):
    assert list(readings(WALL)(parsed(example)))


def test_the_sql_of_a_package_takes_its_time_as_an_argument_too():
    of_its_own = re.compile(r"\bnow\(\)|current_timestamp|clock_timestamp|statement_timestamp|current_date|localtime")
    sources = [path for package in BELOW_THE_GATEWAY for path in (ROOT / package).rglob("*.sql")]
    sources += [path for path in modules(*BELOW_THE_GATEWAY) if path.name.endswith("store.py")]
    assert len(sources) > 4
    assert [name_of(path) for path in sources if of_its_own.search(path.read_text(encoding="utf-8"))] == []


STATEMENT = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|CREATE|ALTER|DROP|TRUNCATE|LOCK|LISTEN|COPY|CALL)\s+\S"
)
RUNS_SQL = {
    "execute",
    "executemany",
    "fetch",
    "fetchrow",
    "fetchval",
    "copy_records_to_table",
    "exec_driver_sql",
}


def statements(module: ast.Module) -> Iterator[ast.AST]:
    """Texts that are SQL, and calls that run a text."""
    for node in nodes(module, ast.Constant):
        if isinstance(node.value, str) and STATEMENT.match(node.value):
            yield node
    for node in nodes(module, ast.Call):
        is_text = bool(node.args) and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
        if is_text and last_word(node.func) in RUNS_SQL:
            yield node


def test_sql_is_written_in_stores_only():
    others = [path for path in modules(*PACKAGES) if not path.name.endswith("store.py")]
    assert found(others, statements, SQL_ALLOWED) == []


@pytest.mark.parametrize("example", ['text("SELECT 1")', 'c.fetch(f"{x}")', 'Q = """\n  SELECT a FROM b"""'])
def test_sql_outside_a_store_would_be_seen(example):
    assert list(statements(parsed(example)))


# --- How it reads -------------------------------------------------------------------------------------------


def test_a_package_begins_with_what_it_is_and_nothing_else():
    for path in modules(*PACKAGES):
        if path.name == "__init__.py":
            assert ast.get_docstring(tree(path)), f"{name_of(path)} does not say what the package is"
            assert len(tree(path).body) == 1, f"{name_of(path)} holds more than its docstring"


def undocumented(module: ast.Module) -> Iterator[ast.AST]:
    """Public functions and methods that say nothing of themselves. A resolver says it in its description, which is
    published; the methods of a Protocol, which have no body, need not."""
    public_classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for scope in (module, *public_classes):
        for node in scope.body:
            public = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
            if public and not ast.get_docstring(node) and not described(node) and ast.unparse(node.body) != "...":
                yield node


def described(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a decorator of the function gives it a description."""
    calls = [decorator for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    return any(keyword.arg == "description" for call in calls for keyword in call.keywords)


def test_every_public_function_says_what_it_does():
    assert found(modules(*PACKAGES), undocumented) == []


def test_a_silent_function_would_be_seen():
    assert list(undocumented(parsed("def award(): return 1")))
    assert list(undocumented(parsed("class Award:\n    def points(self): return 1")))
    assert not list(undocumented(parsed("def _own(): return 1")))


# --- What is shipped ----------------------------------------------------------------------------------------


def test_the_project_file_lists_every_package_folder():
    folders = {name_of(path.parent).replace("/", ".") for path in modules(*PACKAGES, "migrations")}
    assert folders == set(PROJECT["tool"]["setuptools"]["packages"])
    for folder in folders:
        assert (ROOT / folder.replace(".", "/") / "__init__.py").exists(), folder


def test_every_file_that_a_package_needs_is_shipped_with_it():
    setup = PROJECT["tool"]["setuptools"]
    shipped = {
        path
        for package in setup["packages"]
        for pattern in (*setup["package-data"]["*"], *setup["package-data"].get(package, ()))
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    for package in (*PACKAGES, "migrations"):
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.suffix != ".py" and not NOT_OURS & set(path.parts):
                assert path in shipped, f"{name_of(path)} is not shipped"


PASSED_OVER = {Path(__file__), ROOT / ".git"}  # a worktree's .git is a file that says where the repository lies


def own_texts() -> Iterator[tuple[str, str]]:
    """Name and content of every text file of the project but this one."""
    for place, folders, files in os.walk(ROOT):
        folders[:] = sorted(
            name for name in folders if name not in NOT_OURS and (name == ".ci" or not name.startswith("."))
        )
        for path in sorted(Path(place, file) for file in files):
            if path.is_file() and path not in PASSED_OVER:
                with suppress(UnicodeDecodeError):
                    yield name_of(path), path.read_text(encoding="utf-8")


def test_nothing_names_a_package_registry_or_a_folder_of_somebody_s_machine():
    telling = re.compile(
        r"pypi\.org|pythonhosted|index-url|registry\.npmjs|gcr\.io|quay\.io"
        r"|(?<![\w.}*/-])/(home|Users|work|opt/pypi|root|mnt)/\w",
        re.IGNORECASE,
    )
    seen = [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1}"
        for name, text in own_texts()
        for found in telling.finditer(text)
    ]
    assert seen == []


def test_every_requirement_is_pinned_with_a_hash_and_every_source_is_compiled():
    for source in sorted((ROOT / "requirements").glob("*.in")):
        compiled = source.with_suffix(".txt").read_text(encoding="utf-8")
        requirements = re.findall(r"^[A-Za-z0-9][^\n]*(?:\n {4}--hash[^\n]*)*", compiled, re.MULTILINE)
        assert requirements, source.name
        for requirement in requirements:
            assert "==" in requirement, requirement
            assert "--hash=sha256:" in requirement, requirement
        for line in source.read_text(encoding="utf-8").splitlines():
            if name := re.match(r"[A-Za-z0-9][A-Za-z0-9_.-]*", line):
                wanted = re.sub(r"[-_.]+", "-", name[0]).lower()
                assert re.search(rf"^{re.escape(wanted)}(\[.*?\])?==", compiled, re.MULTILINE), f"{wanted}: make lock"


def test_what_is_tested_is_what_is_shipped():
    """The development requirements pin the same versions as the product's own."""
    pinned = {
        name: dict(re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==([^ ]+)", (ROOT / "requirements" / name).read_text(), re.M))
        for name in ("runtime.txt", "dev.txt")
    }
    assert pinned["runtime.txt"].items() <= pinned["dev.txt"].items()
