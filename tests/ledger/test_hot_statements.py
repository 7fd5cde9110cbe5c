"""A lint over the statements of the hot path: they keep to what a database that is sharded by holder can do.

Read from the functions as they are in the database and from the stores' texts, parsed by PostgreSQL's own parser.
Every rule has an example that breaks it and is seen.
"""

from __future__ import annotations

import ast as python
import importlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pglast
import pytest
from pglast import ast, enums

from kit.postgres import Server
from migrations import citus

HOLDER = citus.HOLDER
# The statements that are asked at a till, by module; all of a module's where no function is named.
STORES: dict[str, set[str]] = {
    "ledger.lot_store": set(),
    "ledger.batch_store": set(),
    "ledger.store": {"account", "accrued_less_returned"},
    "ledger.hold_store": set(),
    "partners.receipts.store": set(),
    "partners.holds.store": set(),
}
CUTOFF_LOCK = 7305002
ENTER_CUTOFF = {"ledger.enter_cutoff", "ledger.accrue_lot"}  # the second to save a call: decision 0015

_CLAIM = (
    "the receipt's claim is one table for all members: on Citus it has to be written first, by a call of its own (not done yet), and the "
    "holder's call to follow; a retry or the sweeper completes what was left in between"
)
_CODE = "a rotating code is used up with its card, which is found by number: on Citus before the holder's call, like the claim"
_SEARCH = "staff look for a receipt by its number, whosever it is; nobody waits at a till"
_BUDGET = (
    "a budget counts over all members: on Citus as slots beside the shards, or by a call of its own behind the holder's"
)
_COUPON = (
    "a coupon is found by the hash of a code that anybody may show: on Citus before the holder's call, like the claim"
)

# What breaks a rule knowingly, and why. docs/decisions/0011-sharding-by-holder.md says what Citus needs instead.
EXCEPTIONS = {
    "partners.receipts.store.receipts_claimed: partners.receipt without the holder": _SEARCH,
    "partners.receipts.store.receipts_claimed: touches partners.receipt_claim": _SEARCH,
    "partners.known_items: touches partners.receipt_claim": _CLAIM,
    "partners.record_purchase: touches partners.receipt_claim": _CLAIM,
    "partners.record_purchases: touches partners.receipt_claim": _CLAIM,
    "partners.record_spending: touches partners.receipt_claim": _CLAIM,
    "partners.record_return: touches partners.receipt_claim": _CLAIM,
    "partners.record_hold: touches partners.receipt_claim": _CLAIM,
    "partners.record_capture: touches partners.receipt_claim": _CLAIM,
    "partners.record_release: touches partners.receipt_claim": _CLAIM,
    "partners.used_proof: touches members.code_use": _CODE,
    "partners.use_proof: touches members.code_use": _CODE,
    "partners.used_proof: touches members.approval_use": _CODE,
    "partners.use_proof: touches members.approval_use": _CODE,
    "partners.use_budgets: touches partners.budget": _BUDGET,
    "partners.use_budgets: touches partners.budget_counter": _BUDGET,
    "partners.denied_charges: touches partners.budget": _BUDGET,
    "partners.denied_charges: touches partners.budget_counter": _BUDGET,
    "partners.record_given_back: touches partners.budget_counter": _BUDGET,
    "partners.use_windows: touches partners.budget": _BUDGET,
    "partners.use_windows: touches partners.budget_window": _BUDGET,
    "partners.used_in_window: touches partners.budget_counter": _BUDGET,
    "partners.count_coupons: touches partners.coupon": _COUPON,
    "partners.grant_coupons: touches partners.coupon": _COUPON,
    "partners.judge_coupons: touches partners.coupon": _COUPON,
    "partners.release_coupons: touches partners.coupon": _COUPON,
    "partners.release_coupons: touches partners.coupon_use": _COUPON,
    "partners.lapse_coupons: touches partners.coupon_use": _COUPON,
    "partners.take_back_grants: touches partners.coupon": _COUPON,
    "partners.use_coupons: touches partners.coupon": _COUPON,
    "partners.use_coupons: touches partners.coupon_use": _COUPON,
    "partners.weigh_coupons: touches partners.coupon": _COUPON,
    "partners.weigh_coupons: touches partners.coupon_use": _COUPON,
    "partners.coupons_left: touches partners.coupon_use": _COUPON,
    "partners.is_guessed_at: touches partners.coupon_guess": _COUPON,
    "partners.is_guessed_at: touches partners.coupon_use": _COUPON,
    "partners.coupons_left: partners.coupon_count without the holder": "what all have used is counted under holder 0: see "
    + _BUDGET,
    "partners.take_reward: touches partners.reward": "a stock is for all members: see " + _BUDGET,
    "partners.record_moment: touches partners.receipt_claim": _CLAIM,
    "partners.holds.store.claim_by_idem_key: touches partners.receipt_claim": _CLAIM,
    "partners.receipts.store.insert_tombstone: touches partners.receipt_claim": _CLAIM,
    "partners.receipts.store.claims: touches partners.receipt_claim": _CLAIM,
    "partners.receipts.store.fingerprint_of: touches partners.receipt_claim": _CLAIM,
    "partners.receipts.store.receipt_by_claim: touches partners.receipt_claim": _CLAIM,
    "partners.receipts.store.receipt_by_claim: partners.receipt without the holder": "the claim says the holder: two reads",
    "partners.receipts.store.purchases_between: partners.receipt without the holder": "a report of all; no till asks it",
    "partners.receipts.store.purchases_counted: partners.receipt without the holder": "for the bar of such a report",
    "partners.receipts.store.receipt_by_idem_key: touches partners.receipt_claim": _CLAIM,
    "partners.receipts.store.receipt_by_idem_key: partners.receipt without the holder": "the claim says the holder: two reads",
}


# --- The lint -----------------------------------------------------------------------------------------------


@dataclass
class Scope:
    """What a query's FROM offers by alias: True where only rows of known holders can come from it."""

    known: dict[str, bool]
    sharded: dict[str, str] = field(default_factory=dict)  # alias to table
    equal: list[tuple[ast.Node, frozenset[str]]] = field(default_factory=list)  # condition, aliases that it filters
    columns: dict[str, str] = field(default_factory=dict)  # renamed columns, to their alias
    inner: list[ast.Node] = field(default_factory=list)  # queries below
    own: set[str] = field(default_factory=set)


@dataclass
class Lint:
    """Looks at one statement; `breaches` says what it found."""

    sharded: frozenset[str]
    reference: frozenset[str]
    volatile: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    is_cutoff: bool = False
    ctes: set[str] = field(default_factory=set)
    breaches: list[str] = field(default_factory=list)

    def look(self, statement: ast.Node) -> list[str]:
        """Everything that is wrong with a statement."""
        for node in nodes(statement):
            if isinstance(node, ast.FuncCall):
                self._call(node)
            elif isinstance(node, ast.UpdateStmt):
                self._update(node)
            elif isinstance(node, ast.InsertStmt):
                self._values(node)
        self._query(statement, {})
        return list(dict.fromkeys(self.breaches))

    def _call(self, call: ast.FuncCall) -> None:
        name = call.funcname[-1].sval
        if "advisory" in name:
            number = call.args[0].val.ival if call.args and isinstance(call.args[0], ast.A_Const) else None
            if not (self.is_cutoff and name == "pg_advisory_xact_lock_shared" and number == CUTOFF_LOCK):
                self.breaches.append(f"advisory lock by {name}")
        if name in ("nextval", "currval", "lastval", "setval"):
            self.breaches.append(f"sequence by {name}")

    def _update(self, update: ast.UpdateStmt) -> None:
        for part in (*update.targetList, update.whereClause):
            for node in nodes(part):
                if isinstance(node, ast.FuncCall) and node.funcname[-1].sval in self.volatile:
                    self.breaches.append(f"volatile {node.funcname[-1].sval} in UPDATE")

    def _values(self, insert: ast.InsertStmt) -> None:
        rows = getattr(insert.selectStmt, "valuesLists", None) or ()
        if any(isinstance(node, ast.SubLink) for row in rows for value in row for node in nodes(value)):
            self.breaches.append("subquery in VALUES")

    def _query(self, query: ast.Node, outer: dict[str, bool]) -> None:
        for cte in (getattr(query, "withClause", None) and query.withClause.ctes) or ():
            self._query(cte.ctequery, outer)
            self.ctes.add(cte.ctename)
        if isinstance(query, ast.SelectStmt) and query.larg is not None:
            self._query(query.larg, outer)
            self._query(query.rarg, outer)
            return
        scope = self._scope(query, outer)
        self._settle(scope)
        for alias, table in scope.sharded.items():
            if not scope.known[alias]:
                self.breaches.append(f"{table} without the holder")
        if isinstance(query, ast.InsertStmt):
            self._insert(query)
            return
        for below in scope.inner:
            self._query(below, scope.known)

    def _scope(self, query: ast.Node, outer: dict[str, bool]) -> Scope:
        scope = Scope(dict(outer))
        if isinstance(query, ast.UpdateStmt | ast.DeleteStmt):
            self._relation(query.relation, scope)
            below = query.fromClause if isinstance(query, ast.UpdateStmt) else query.usingClause
        else:
            below = getattr(query, "fromClause", None)
        for item in below or ():
            self._from(item, scope)
        where = getattr(query, "whereClause", None)
        scope.equal += [(part, frozenset(scope.own)) for part in conjuncts(where)]
        for name in ("targetList", "whereClause", "havingClause", "valuesLists", "returningList", "groupClause"):
            scope.inner += queries(getattr(query, name, None))
        return scope

    def _relation(self, relation: ast.RangeVar, scope: Scope) -> set[str]:
        alias = relation.alias.aliasname if relation.alias else relation.relname
        scope.own.add(alias)
        if relation.schemaname is None and relation.relname in self.ctes:
            scope.known[alias] = True
            return {alias}
        table = f"{relation.schemaname}.{relation.relname}"
        scope.known[alias] = False
        if table in self.sharded:
            scope.sharded[alias] = table
        elif relation.schemaname is None:
            self.breaches.append(f"{relation.relname} without its schema")
        elif table not in self.reference:
            self.breaches.append(f"touches {table}")
        return {alias}

    def _from(self, item: ast.Node, scope: Scope) -> set[str]:
        """Take an item of FROM into the scope; returns its aliases."""
        if isinstance(item, ast.RangeVar):
            return self._relation(item, scope)
        if isinstance(item, ast.JoinExpr):
            return self._join(item, scope)
        if isinstance(item, ast.RangeSubselect):
            scope.inner.append(item.subquery)
        elif isinstance(item, ast.RangeFunction):
            scope.inner += queries(item.functions)
        alias = item.alias.aliasname if item.alias else "?"
        scope.columns |= {name.sval: alias for name in (item.alias and item.alias.colnames) or ()}
        scope.known[alias] = True
        scope.own.add(alias)
        return {alias}

    def _join(self, join: ast.JoinExpr, scope: Scope) -> set[str]:
        left, right = self._from(join.larg, scope), self._from(join.rarg, scope)
        # An outer join's condition says nothing about the rows of the side that is kept whole.
        kept = {
            enums.JoinType.JOIN_INNER: left | right,
            enums.JoinType.JOIN_LEFT: right,
            enums.JoinType.JOIN_RIGHT: left,
        }.get(join.jointype, set())
        scope.equal += [(part, frozenset(kept)) for part in conjuncts(join.quals)]
        scope.inner += queries(join.quals)
        if any(column.sval == HOLDER for column in join.usingClause or ()):
            scope.equal += [(equality(one, other), frozenset(kept)) for one in left for other in right]
        return left | right

    def _settle(self, scope: Scope) -> None:
        """Follow equalities from what is known to the tables, until nothing new is."""
        moved = True
        while moved:
            moved = False
            for condition, filtered in scope.equal:
                for one, other in sides(condition):
                    alias = self._holder_of(one, scope)
                    if alias in filtered and not scope.known[alias] and self._is_known(other, scope):
                        scope.known[alias] = moved = True

    def _holder_of(self, value: ast.Node, scope: Scope) -> str | None:
        """The alias whose holder column this is."""
        names = column(value)
        if names == (HOLDER,) and HOLDER not in self.variables:
            of = scope.own if len(scope.own) == 1 else set(scope.sharded)
            return next(iter(of)) if len(of) == 1 else None
        return names[0] if len(names) == 2 and names[1] == HOLDER and names[0] in scope.known else None

    def _is_known(self, value: ast.Node, scope: Scope) -> bool:
        """Whether the value is there before any row is read, or comes from rows of known holders."""
        if isinstance(value, ast.ParamRef):
            return True
        if isinstance(value, ast.TypeCast | ast.A_Indirection):  # an element of a variable: whichever, it was given
            return self._is_known(value.arg, scope)
        if isinstance(value, ast.A_ArrayExpr):
            return all(self._is_known(element, scope) for element in value.elements)
        if (alias := self._holder_of(value, scope)) is not None:
            return scope.known[alias]
        names = column(value)
        if len(names) == 2 and names[0] in scope.known:  # a column of another name that carries a holder
            return scope.known[names[0]]
        return bool(names) and (names[0] in self.variables or names[-1] in scope.columns)

    def _insert(self, insert: ast.InsertStmt) -> None:
        scope = Scope({})
        [alias] = self._relation(insert.relation, scope)
        source = insert.selectStmt
        if alias in scope.sharded:
            columns = [column.name for column in insert.cols or ()]
            rows = self._inserted(source)
            if HOLDER not in columns or not all(
                self._is_known(row[columns.index(HOLDER)], below) for row, below in rows
            ):
                self.breaches.append(f"{scope.sharded[alias]} without the holder")
        self._query(source, {})

    def _inserted(self, source: ast.SelectStmt) -> list[tuple[list[ast.Node], Scope]]:
        if source.valuesLists:
            return [(list(row), Scope({})) for row in source.valuesLists]
        quiet = Lint(self.sharded, self.reference, variables=self.variables, ctes=self.ctes)
        scope = quiet._scope(source, {})
        quiet._settle(scope)
        return [([target.val for target in source.targetList], scope)]


def nodes(node: object) -> Iterator[ast.Node]:
    """A node and everything below it."""
    if isinstance(node, ast.Node):
        yield node
        for name in node:
            yield from nodes(getattr(node, name))
    elif isinstance(node, tuple | list):
        for each in node:
            yield from nodes(each)


def queries(node: object) -> list[ast.Node]:
    """The queries right below an expression, not those below them."""
    if isinstance(node, ast.SubLink):
        return [node.subselect, *queries(node.testexpr)]
    if isinstance(node, ast.Node):
        return [found for name in node for found in queries(getattr(node, name))]
    return [found for each in node for found in queries(each)] if isinstance(node, tuple | list) else []


def conjuncts(condition: ast.Node | None) -> list[ast.Node]:
    """The parts of a condition that must all be true."""
    if isinstance(condition, ast.BoolExpr) and condition.boolop == enums.BoolExprType.AND_EXPR:
        return [part for each in condition.args for part in conjuncts(each)]
    return [] if condition is None else [condition]


def sides(condition: ast.Node) -> list[tuple[ast.Node, ast.Node]]:
    """The two sides of an equality, either way round; those of = ANY one way."""
    if not isinstance(condition, ast.A_Expr) or condition.name[-1].sval != "=":
        return []
    if condition.kind == enums.A_Expr_Kind.AEXPR_OP:
        return [(condition.lexpr, condition.rexpr), (condition.rexpr, condition.lexpr)]
    return [(condition.lexpr, condition.rexpr)] if condition.kind == enums.A_Expr_Kind.AEXPR_OP_ANY else []


def column(value: ast.Node) -> tuple[str, ...]:
    """A column's name in its parts; nothing for what is no column."""
    if not isinstance(value, ast.ColumnRef) or any(isinstance(part, ast.A_Star) for part in value.fields):
        return ()
    return tuple(part.sval for part in value.fields)


def equality(one: str, other: str) -> ast.Node:
    """The condition that USING (holder_id) stands for."""
    [parsed] = pglast.parse_sql(f'SELECT "{one}".{HOLDER} = "{other}".{HOLDER}')
    return parsed.stmt.targetList[0].val


# --- What it looks at ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """A statement of the hot path: where it is from, its tree, and the names that are variables in it."""

    place: str
    tree: ast.Node
    variables: frozenset[str] = frozenset()


OWN_TYPE = re.compile(r"\b(?:kit|ledger|members|partners)\.\w+(?:\[\])?(?=\s*(?:;|:=))")
OWN_RESULT = re.compile(r"\bRETURNS (?:SETOF )?(?:kit|ledger|members|partners)\.\w+")


def pieces_of(name: str, language: str, definition: str, source: str, arguments: list[str]) -> list[Piece]:
    """The statements and expressions of a function."""
    if language == "sql":
        return [Piece(name, raw.stmt, frozenset(arguments)) for raw in pglast.parse_sql(source)]
    assert language == "plpgsql", name
    # The parser knows no types of ours: a record does for it what a row does.
    head, quote, body = definition.partition("$function$")
    declared, begin, rest = body.partition("BEGIN")
    text = OWN_RESULT.sub("RETURNS record", head) + quote + OWN_TYPE.sub("record", declared) + begin + rest
    parsed = json.loads(pglast.parser.parse_plpgsql_json(text))
    assert "PLpgSQL_stmt_dynexecute" not in json.dumps(parsed), f"{name} runs a text that nobody can read beforehand"
    names = frozenset(found["refname"] for found in below(parsed, "refname"))
    return [
        Piece(name, raw.stmt, names)
        for found in below(parsed, "parseMode")
        for raw in pglast.parse_sql(as_statement(found["query"], found["parseMode"]))
    ]


def as_statement(query: str, mode: int) -> str:
    """PL/pgSQL's expression or assignment as a statement."""
    if mode == 0:
        return query
    return "SELECT " + (query if mode == 2 else re.split(r":?=", query, maxsplit=1)[1])


def below(tree: object, key: str) -> Iterator[dict[str, object]]:
    """Every dictionary of a parsed function that has a key."""
    if isinstance(tree, dict):
        if key in tree:
            yield tree
        for value in tree.values():
            yield from below(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from below(value, key)


FUNCTIONS = """
    SELECT n.nspname || '.' || p.proname AS name, l.lanname AS language, p.prosrc AS source,
           pg_get_functiondef(p.oid) AS definition, coalesce(p.proargnames, '{}') AS arguments,
           p.provolatile = 'v' AND coalesce(p.proargnames && '{p_holder,p_holders}', false)
           OR coalesce('plan_cache_mode=force_generic_plan' = ANY (p.proconfig), false) AS is_hot
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE n.nspname IN ('ledger', 'partners') AND p.prokind = 'f'
"""


async def hot_functions(connection: asyncpg.Connection) -> dict[str, list[Piece]]:
    """The functions that are called for holders or planned once per session, and those that they call, with their pieces."""
    rows = {row["name"]: row for row in await connection.fetch(FUNCTIONS)}
    found: dict[str, list[Piece]] = {}
    waiting = [name for name, row in rows.items() if row["is_hot"]]
    while waiting:
        name = waiting.pop()
        if name in found or name not in rows:
            continue
        row = rows[name]
        found[name] = pieces_of(name, row["language"].strip(), row["definition"], row["source"], row["arguments"])
        waiting += [called for piece in found[name] for called in calls(piece.tree)]
    return found


def calls(tree: ast.Node) -> list[str]:
    """Functions of ours that a statement calls."""
    named = [node.funcname for node in nodes(tree) if isinstance(node, ast.FuncCall) and len(node.funcname) == 2]
    return [".".join(part.sval for part in name) for name in named]


def asking(module: str) -> list[python.AsyncFunctionDef]:
    """A store's functions that are hot."""
    tree = python.parse(Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, python.AsyncFunctionDef)]
    return [node for node in found if not STORES[module] or node.name in STORES[module]]


def statements_of(module: str) -> list[Piece]:
    """The statements in a store's hot functions, where the text can be told without running them."""
    loaded = importlib.import_module(module)
    return [
        Piece(f"{module}.{function.name}", raw.stmt)
        for function in asking(module)
        for call in python.walk(function)
        if isinstance(call, python.Call)
        for argument in call.args
        for text in (told(either, vars(loaded)) for either in choices(argument))
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text)
        for raw in pglast.parse_sql(re.sub(r"(?<!:):([a-z_]+)", "$1", text))
    ]


def choices(node: python.expr) -> list[python.expr]:
    """The expressions of which one is meant."""
    return [*choices(node.body), *choices(node.orelse)] if isinstance(node, python.IfExp) else [node]


def told(node: python.expr, names: dict[str, object]) -> str:
    """The text that an expression of constants makes; empty for any other."""
    if isinstance(node, python.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, python.Name):
        return str(names.get(node.id, ""))
    if isinstance(node, python.BinOp):
        left, right = told(node.left, names), told(node.right, names)
        return left + right if left and right else ""
    if isinstance(node, python.JoinedStr):
        parts = [told(part.value if isinstance(part, python.FormattedValue) else part, names) for part in node.values]
        return "".join(parts) if all(parts) else ""
    return ""


async def lint(connection: asyncpg.Connection, pieces: list[Piece]) -> list[str]:
    """Every breach of a rule, as place: what."""
    found = await citus.tables(connection)
    volatile = await connection.fetch("SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v'")
    breaches = [
        f"{piece.place}: {breach}"
        for piece in pieces
        for breach in Lint(
            frozenset(citus.holder_side(found)), citus.REFERENCE, frozenset(row[0] for row in volatile),
            piece.variables, piece.place in ENTER_CUTOFF,
        ).look(piece.tree)
    ]  # fmt: skip
    return list(dict.fromkeys(breaches))


@pytest.fixture
async def owner(server: Server, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """The schema's owner, who may make what breaks a rule."""
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


# --- The rules about statements -----------------------------------------------------------------------------


async def test_every_hot_statement_keeps_to_one_holders_shard_but_for_the_named_exceptions(
    owner: asyncpg.Connection,
) -> None:
    functions = await hot_functions(owner)
    pieces = [piece for found in functions.values() for piece in found]
    pieces += [piece for module in STORES for piece in statements_of(module)]
    assert sorted(await lint(owner, pieces)) == sorted(EXCEPTIONS)


async def test_the_lint_has_looked_at_what_it_should(owner: asyncpg.Connection) -> None:
    functions = await hot_functions(owner)
    assert {
        "ledger.enter_cutoff", "ledger.lock_accounts", "ledger.settle_due", "ledger.record_accruals", "ledger.accrue_lot",
        "ledger.redeem", "ledger.return_accrual", "ledger.refund_redemption", "ledger.find_entry",
        "ledger.spend_many", "ledger.resolve_many", "ledger.return_many",
        "partners.known_items", "partners.record_purchases", "partners.record_spending", "partners.record_return",
        "partners.record_hold", "partners.record_capture", "partners.record_release",
    } <= set(functions)  # fmt: skip
    written = {
        f"{node.relation.schemaname}.{node.relation.relname}"
        for pieces in functions.values()
        for piece in pieces
        for node in nodes(piece.tree)
        if isinstance(node, ast.InsertStmt)
    }
    by_holder = set(citus.holder_side(await citus.tables(owner)))
    # Opened; written by the worker; written when a raffle is closed.
    beside = {"ledger.account", "partners.referral", "partners.raffle_entry"}
    assert written >= by_holder - beside, "a holder's table that no hot function writes"
    for module in STORES:
        named = {f"{module}.{function.name}" for function in asking(module)}
        assert {piece.place for piece in statements_of(module)} == named
        assert len(named) >= max(2, len(STORES[module]))


KEPT = [
    "SELECT FROM ledger.lot l WHERE l.holder_id = p_holder AND l.seq = 1",
    "SELECT FROM ledger.lot WHERE p_holder = holder_id",
    "SELECT FROM ledger.account WHERE holder_id = ANY (p_holders) ORDER BY holder_id FOR NO KEY UPDATE",
    "SELECT FROM unnest(p_holders) AS h(holder_id) LEFT JOIN ledger.account a ON a.holder_id = h.holder_id",
    "SELECT FROM ledger.account a JOIN ledger.lot l USING (holder_id) WHERE l.holder_id = p_holder",
    "SELECT FROM ledger.account a, LATERAL (SELECT FROM ledger.lot l WHERE l.holder_id = a.holder_id) b"
    " WHERE a.holder_id = $1",
    "WITH due AS (SELECT holder_id FROM ledger.lot WHERE holder_id = $1)"
    " UPDATE ledger.account a SET seq = 1 FROM due d WHERE a.holder_id = d.holder_id",
    "INSERT INTO ledger.journal (holder_id, seq) VALUES (p_holder, 1)",
    "INSERT INTO ledger.journal (seq, holder_id) SELECT n, p_holders[n] FROM unnest(p_takes) n",
    "SELECT FROM ledger.unit",
]
BROKEN = {
    "SELECT FROM ledger.lot": "ledger.lot without the holder",
    "SELECT FROM ledger.lot WHERE seq = p_holder": "ledger.lot without the holder",
    "SELECT FROM ledger.lot WHERE holder_id > p_holder": "ledger.lot without the holder",
    "SELECT FROM ledger.lot WHERE holder_id = p_holder OR seq = 1": "ledger.lot without the holder",
    "SELECT FROM ledger.lot l WHERE l.holder_id = l.seq": "ledger.lot without the holder",
    "SELECT FROM ledger.account a JOIN ledger.lot l ON l.seq = a.seq WHERE a.holder_id = $1": "ledger.lot without the holder",
    "SELECT FROM ledger.account a LEFT JOIN ledger.lot l ON a.holder_id = $1 AND l.holder_id = $1":
        "ledger.account without the holder",
    "SELECT FROM ledger.account a WHERE a.holder_id = $1 AND EXISTS (SELECT FROM ledger.lot l WHERE l.seq = a.seq)":
        "ledger.lot without the holder",
    "WITH x AS (SELECT holder_id FROM ledger.lot) SELECT FROM x": "ledger.lot without the holder",
    "UPDATE ledger.account SET seq = 1": "ledger.account without the holder",
    "UPDATE ledger.account a SET seq = l.seq FROM ledger.lot l WHERE l.holder_id = $1": "ledger.account without the holder",
    "DELETE FROM ledger.lot WHERE seq = 1": "ledger.lot without the holder",
    "INSERT INTO ledger.journal (seq) VALUES (1)": "ledger.journal without the holder",
    "INSERT INTO ledger.journal (holder_id) SELECT j.seq FROM ledger.cutoff j": "ledger.journal without the holder",
    "SELECT FROM ledger.account a WHERE a.holder_id = (SELECT c.holder_id FROM ledger.cutoff c)":
        "ledger.account without the holder",
    "SELECT FROM partners.receipt_claim WHERE claim = $1": "touches partners.receipt_claim",
    "SELECT FROM lot": "lot without its schema",
    "INSERT INTO ledger.cutoff VALUES (1, (SELECT 2))": "subquery in VALUES",
    "SELECT pg_advisory_xact_lock(1)": "advisory lock by pg_advisory_xact_lock",
    "SELECT pg_advisory_xact_lock_shared(7305002, 1)": "advisory lock by pg_advisory_xact_lock_shared",
    "SELECT nextval('ledger.holder_id_seq')": "sequence by nextval",
    "UPDATE ledger.account SET spent = random() WHERE holder_id = $1": "volatile random in UPDATE",
}  # fmt: skip
IN_EXAMPLES = frozenset({"p_holder", "p_holders", "p_takes"})


def example(statement: str, place: str = "example") -> list[Piece]:
    return [Piece(place, raw.stmt, IN_EXAMPLES) for raw in pglast.parse_sql(statement)]


@pytest.mark.parametrize("statement", KEPT)
async def test_a_statement_that_keeps_the_rules_is_left_alone(owner: asyncpg.Connection, statement: str) -> None:
    assert await lint(owner, example(statement)) == []


@pytest.mark.parametrize(("statement", "breach"), BROKEN.items())
async def test_a_statement_that_breaks_a_rule_is_seen(owner: asyncpg.Connection, statement: str, breach: str) -> None:
    assert await lint(owner, example(statement)) == [f"example: {breach}"]


async def test_only_the_cutoffs_own_lock_passes_and_only_where_it_is_taken(owner: asyncpg.Connection) -> None:
    lock = "SELECT pg_advisory_xact_lock_shared({}, 1)"
    for place in ENTER_CUTOFF:
        assert await lint(owner, example(lock.format(CUTOFF_LOCK), place)) == []
        assert await lint(owner, example(lock.format(1), place))


async def test_a_breach_inside_a_function_is_seen_wherever_it_hides(owner: asyncpg.Connection) -> None:
    await owner.execute(
        """
        CREATE FUNCTION ledger.peek() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM ledger.hold';
        CREATE FUNCTION ledger.toy(p_holder bigint) RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE a ledger.account; v bigint := (SELECT max(seq) FROM ledger.lot);
        BEGIN
          SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder;
          IF EXISTS (SELECT FROM ledger.posting) THEN
            v := (SELECT max(j.seq) FROM ledger.journal j WHERE j.holder_id = a.holder_id);
          END IF;
          RETURN ledger.peek();
        END $$
        """
    )
    functions = await hot_functions(owner)
    found = await lint(owner, functions["ledger.toy"] + functions["ledger.peek"])
    assert found == [
        "ledger.toy: ledger.lot without the holder",
        "ledger.toy: ledger.posting without the holder",
        "ledger.peek: ledger.hold without the holder",
    ]


async def test_a_function_that_runs_a_made_up_text_is_refused(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "CREATE FUNCTION ledger.toy(p_holder bigint) RETURNS void LANGUAGE plpgsql AS $$"
        " BEGIN EXECUTE 'SELECT 1'; END $$"
    )
    with pytest.raises(AssertionError, match=r"ledger\.toy runs a text"):
        await hot_functions(owner)


# --- The rules about tables ---------------------------------------------------------------------------------

TRIGGERS = """
    SELECT tgrelid::regclass || ' has trigger ' || tgname FROM pg_trigger
    WHERE tgrelid = ANY ($1::text[]::regclass[]) AND NOT tgisinternal
"""
SEQUENCES = """
    SELECT a.attrelid::regclass || '.' || a.attname || ' takes from a sequence' FROM pg_attribute a
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = ANY ($1::text[]::regclass[])
      AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%')
"""
ENUMS = """
    SELECT a.attrelid::regclass || '.' || a.attname || ' is an enum' FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem
    WHERE a.attrelid = ANY ($1::text[]::regclass[]) AND 'e' IN (t.typtype, e.typtype) AND NOT a.attisdropped
"""
KEYS = """
    SELECT i.indexrelid::regclass || ' is unique without the holder' FROM pg_index i
    WHERE i.indrelid = ANY ($1::text[]::regclass[]) AND i.indisunique AND NOT EXISTS (
      SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = 'holder_id' AND a.attnum = ANY (i.indkey))
"""
FOREIGN_KEYS = """
    SELECT conrelid::regclass || ' refers to ' || confrelid::regclass FROM pg_constraint
    WHERE contype = 'f' AND (
      conrelid = ANY ($1::text[]::regclass[]) AND confrelid <> ALL ($2::text[]::regclass[])
      OR confrelid = ANY ($1::text[]::regclass[]) AND conrelid <> ALL ($1::text[]::regclass[]))
"""
TABLE_RULES = {
    TRIGGERS: ("lot has trigger toy",
               "CREATE FUNCTION ledger.toy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
               "CREATE TRIGGER toy BEFORE INSERT ON ledger.lot FOR EACH ROW EXECUTE FUNCTION ledger.toy()"),
    SEQUENCES: ("lot.toy takes from a sequence", "ALTER TABLE ledger.lot ADD toy bigserial"),
    ENUMS: ("lot.toy is an enum", "CREATE TYPE ledger.colour AS ENUM ('red'); ALTER TABLE ledger.lot ADD toy ledger.colour"),
    KEYS: ("toy is unique without the holder", "CREATE UNIQUE INDEX toy ON ledger.lot (seq)"),
    FOREIGN_KEYS: ("lot refers to partners.terms_toy",
                   "CREATE TABLE partners.terms_toy (terms_id int PRIMARY KEY);"
                   "ALTER TABLE ledger.lot ADD FOREIGN KEY (terms_id) REFERENCES partners.terms_toy"),
}  # fmt: skip


async def table_breaches(connection: asyncpg.Connection, rule: str) -> list[str]:
    """Where the holder's tables, and for triggers the reference tables too, break a rule."""
    by_holder = citus.holder_side(await citus.tables(connection))
    if rule is TRIGGERS:
        by_holder += sorted(citus.REFERENCE)
    given = (by_holder, sorted(citus.REFERENCE)) if rule is FOREIGN_KEYS else (by_holder,)
    return [row[0] for row in await connection.fetch(rule, *given)]


@pytest.mark.parametrize("rule", TABLE_RULES, ids=["triggers", "sequences", "enums", "keys", "foreign keys"])
async def test_the_holders_tables_have_nothing_that_cannot_be_sharded_and_what_could_not_is_seen(
    owner: asyncpg.Connection, rule: str
) -> None:
    assert await table_breaches(owner, rule) == []
    breach, statement = TABLE_RULES[rule]
    await owner.execute(statement)
    [found] = await table_breaches(owner, rule)
    assert found.endswith(breach)


async def test_a_key_that_begins_with_another_column_is_not_the_holders(owner: asyncpg.Connection) -> None:
    await owner.execute("CREATE TABLE ledger.toy (seq bigint, holder_id bigint, PRIMARY KEY (seq, holder_id))")
    found = await citus.tables(owner)
    assert "ledger.toy" not in citus.holder_side(found)
    with pytest.raises(citus.PlaceError, match=r"ledger\.toy"):
        citus.place_tables(found)


async def test_no_hot_function_takes_or_gives_an_enum(owner: asyncpg.Connection) -> None:
    enums_passed = """
        SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE p.pronamespace IN ('ledger'::regnamespace, 'partners'::regnamespace) AND EXISTS (
          SELECT FROM pg_type t WHERE t.typtype = 'e'
            AND t.oid = ANY (coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype))
    """
    assert await owner.fetch(enums_passed) == []
    await owner.execute(
        "CREATE TYPE ledger.colour AS ENUM ('red');"
        "CREATE FUNCTION ledger.toy(p_holder bigint, p ledger.colour) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    assert len(await owner.fetch(enums_passed)) == 1
