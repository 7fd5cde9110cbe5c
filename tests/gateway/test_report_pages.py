"""Reports over HTTP: a partner has its own and no other's, the operator's staff all, a stranger none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from starlette.routing import Router

from gateway import report_pages, scopes
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from settlement import runs
from tests.builders import found
from tests.gateway import stand
from tests.gateway.stand import NOON, Gateway, Till


@pytest.fixture
async def settled(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    """A gateway whose coalition has one settled run."""
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    await coalition.add_partner("grocer")
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as gateway:
        gateway.app.router.routes.extend(Router(report_pages.ROUTES).routes)
        async with database.transaction() as connection:
            await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
        callers = sorted(coalition.callers)
        partner_id = coalition.callers[callers[0]].partner_id
        terms_id = await database.pool.fetchval(
            "SELECT terms_id FROM partners.agreement WHERE partner_id = $1", partner_id
        )
        await database.pool.fetchval(
            "SELECT status FROM ledger.accrue((SELECT ledger.open_accounts(1, 1::smallint)), 1::smallint, $1, "
            "gen_random_uuid(), gen_random_uuid(), $2, ARRAY[$1::int], ARRAY[$1::int], ARRAY[$3::int], "
            "ARRAY[1000::bigint], ARRAY[$2::timestamptz], ARRAY[$4::timestamptz])",
            partner_id, NOON, terms_id, NOON + timedelta(days=365),
        )  # fmt: skip
        await cutoffs.close(database, at=NOON)
        async with database.transaction() as connection:
            await runs.settle(connection, actor="maker", at=NOON)
        yield gateway


async def get(till: Till, path: str) -> tuple[int, bytes]:
    answer = await till.http.get(path, headers={"Authorization": f"Bearer {till.token}"})
    return answer.status_code, answer.content


async def test_a_partner_has_its_own_reports_and_no_other_s(settled: Gateway) -> None:
    callers = sorted(settled.coalition.callers)
    own, other = await settled.till(callers[0]), await settled.till(callers[1])
    status, content = await get(own, "/settlement/reports/R1?run=1")
    assert status == 200
    assert content.startswith(b"line_no,kind,")
    status, pdf = await get(own, "/settlement/reports/R1?run=1&format=pdf&language=ro")
    assert (status, pdf[:5]) == (200, b"%PDF-")
    assert (await get(own, "/settlement/reports/R3?run=1"))[0] == 404
    for path in ("R1?run=1", f"R1?run=1&partner={callers[0]}", f"R2?run=1&partner={callers[0]}"):
        assert (await get(other, f"/settlement/reports/{path}"))[0] == 404  # it has no statement in the run
    status, register = await get(other, "/settlement/reports/R17?run=1")
    assert (status, register.count(b"\n")) == (200, 1)  # the header alone


async def test_staff_has_all_and_who_has_no_scope_none(settled: Gateway) -> None:
    staff = await settled.till(None, wanted=(scopes.SETTLEMENT_READ,))
    for code in ("R3", "R7", "R8", "R20", "R24"):
        assert (await get(staff, f"/settlement/reports/{code}?run=1"))[0] == 200, code
    assert (await get(staff, "/settlement/reports/R99?run=1"))[0] == 404
    assert (await get(staff, "/settlement/reports/R7"))[0] == 400
    assert (await get(staff, "/settlement/reports/R7?run=1&format=exe"))[0] == 400
    listed = await staff.ask("{ settlementReports { code path } }")
    assert len(listed) == 21
    caller = sorted(settled.coalition.callers)[0]
    poor = await settled.till(caller, wanted=scopes.TILL)
    assert (await get(poor, "/settlement/reports/R1?run=1"))[0] == 403
    assert (await settled.http.get("/settlement/reports/R1?run=1")).status_code == 401
    keys = await settled.http.get("/settlement/keys.json")
    assert (keys.status_code, keys.json()) == (200, {"keys": []})
