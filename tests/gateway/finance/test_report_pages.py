"""Reports over HTTP: a partner has its own and no other's, the operator's staff all, a stranger none."""

from __future__ import annotations

import io
import secrets
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta

import pypdfium2
import pytest
from starlette.routing import Router

from gateway import scopes
from gateway.finance import report_pages
from gateway.oauth import clients, dpop
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from settlement import runs
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.signers import Signer
from tests.gateway.stand import NOON, Gateway, Till

template = a_coalition(bakery={"return_window_days": 0}, grocer={})


@pytest.fixture
async def settled(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    """A gateway whose coalition has one settled run."""
    coalition = await met(database, vault)
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


async def test_a_document_is_a_pdf_for_its_partner_and_for_staff(settled: Gateway) -> None:
    callers = sorted(settled.coalition.callers)
    own, other = await settled.till(callers[0]), await settled.till(callers[1])
    staff = await settled.till(None, wanted=(scopes.SETTLEMENT_READ,))
    path = "/settlement/documents/1/INV-000001"
    for language, title in (("en", "Invoice"), ("ru", "Счёт"), ("ro", "Factură")):
        status, pdf = await get(own, f"{path}?language={language}")
        text = "".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(pdf))
        assert (status, title in text, "INV-000001" in text) == (200, True, True)
    assert (await get(staff, f"{path}?partner={callers[0]}"))[0] == 200
    assert (await get(staff, path))[0] == 400
    assert (await get(other, path))[0] == 404
    assert (await get(own, "/settlement/documents/1/INV-000009"))[0] == 404


async def test_staff_has_all_and_who_has_no_scope_none(settled: Gateway) -> None:
    staff = await settled.till(None, wanted=(scopes.SETTLEMENT_READ,))
    for code in ("R3", "R7", "R8", "R20", "R24"):
        assert (await get(staff, f"/settlement/reports/{code}?run=1"))[0] == 200, code
    assert (await get(staff, "/settlement/reports/R99?run=1"))[0] == 404
    assert (await get(staff, "/settlement/reports/R7"))[0] == 400
    assert (await get(staff, "/settlement/reports/R7?run=1&format=exe"))[0] == 400
    listed = await staff.ask("{ settlementReports { code path } }")
    assert len(listed) == 25
    caller = sorted(settled.coalition.callers)[0]
    asked = f"/settlement/reports/R23?run=1&partner={caller}&price=service_price_micro:2500"
    status, told = await get(staff, asked)
    assert (status, told.splitlines()[0].startswith(b"scenario,")) == (200, True)
    for wrong in (asked.replace("2500", "-1"), asked.replace("service_price_micro", "name"), asked.split("&price")[0]):
        assert (await get(staff, wrong))[0] == 400, wrong
    poor = await settled.till(caller, wanted=scopes.TILL)
    assert (await get(poor, "/settlement/reports/R1?run=1"))[0] == 403
    assert (await settled.http.get("/settlement/reports/R1?run=1")).status_code == 401
    keys = await settled.http.get("/settlement/keys.json")
    assert (keys.status_code, keys.json()) == (200, {"keys": []})


async def test_a_bound_token_fetches_files_with_a_proof_made_for_their_address_alone(settled: Gateway) -> None:
    caller = sorted(settled.coalition.callers)[0]
    partner_id = settled.coalition.callers[caller].partner_id
    async with settled.coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
        await clients.allow_secrets(connection, partner_id=partner_id, by="tester", at=clock.wall())
        wanted = (scopes.SETTLEMENT_READ,)
        client_id, secret = await clients.add_client(
            connection, partner_id=partner_id, name="bound", scopes=wanted, by="tester", at=clock.wall()
        )
    holder = Signer()

    def proof(path: str, *, method: str = "GET", token: str | None = None) -> str:
        claims = {"htm": method, "htu": stand.ISSUER + path, "iat": int(clock.wall().timestamp())}
        claims |= {"jti": secrets.token_hex(8)} | ({} if token is None else {"ath": dpop.hash_of(token)})
        return holder.sign({"typ": "dpop+jwt", "jwk": holder.public}, claims)

    answer = await settled.http.post(
        "/oauth/token", auth=(client_id, secret), data={"grant_type": "client_credentials"},
        headers={"DPoP": proof("/oauth/token", method="POST")},
    )  # fmt: skip
    assert answer.json()["token_type"] == "DPoP"
    token = answer.json()["access_token"]

    async def fetched(path: str, shown: str | None, scheme: str = "DPoP") -> int:
        headers = {"Authorization": f"{scheme} {token}"} | ({} if shown is None else {"DPoP": shown})
        status: int = (await settled.http.get(path, headers=headers)).status_code
        return status

    report, package = "/settlement/reports/R1", "/settlement/packages/1"
    good = proof(report, token=token)
    assert await fetched(f"{report}?run=1", good) == 200
    assert await fetched(f"{report}?run=1", good) == 401  # seen before
    assert await fetched(package, proof(package, token=token)) == 200
    for path, shown in (
        (report, None),
        (report, proof("/graphql", token=token)),
        (report, proof(package, token=token)),
        (report, proof(report, method="POST", token=token)),
        (report, proof(report)),
        (package, proof(report, token=token)),
    ):
        assert await fetched(f"{path}?run=1", shown) == 401
    assert await fetched(f"{report}?run=1", None, "Bearer") == 401
    stolen = Signer()
    claims = {"htm": "GET", "htu": stand.ISSUER + report, "iat": int(clock.wall().timestamp()), "jti": "x" * 16}
    other = stolen.sign({"typ": "dpop+jwt", "jwk": stolen.public}, {**claims, "ath": dpop.hash_of(token)})
    assert await fetched(f"{report}?run=1", other) == 401


async def test_a_package_is_its_partner_s_and_is_fetched_by_it_and_by_staff(settled: Gateway) -> None:
    callers = sorted(settled.coalition.callers)
    own, other = await settled.till(callers[0]), await settled.till(callers[1])
    staff = await settled.till(None, wanted=(scopes.SETTLEMENT_READ,))
    status, made = await get(own, "/settlement/packages/1")
    assert (status, made[:2]) == (200, b"PK")
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert {"statement.json", "detail.csv", "verify.py"} <= {name.split("/")[-1] for name in archive.namelist()}
    assert (await get(other, "/settlement/packages/1"))[0] == 404
    assert (await get(other, f"/settlement/packages/1?partner={callers[0]}"))[0] == 404  # it does not choose whose
    assert (await get(staff, "/settlement/packages/1"))[0] == 400
    assert (await get(staff, f"/settlement/packages/1?partner={callers[0]}")) == (200, made)
    assert (await get(staff, f"/settlement/packages/9?partner={callers[0]}"))[0] == 404
    assert (await get(own, "/settlement/packages/x"))[0] == 400


async def test_positions_are_told_as_they_were(settled: Gateway) -> None:
    staff = await settled.till(None, wanted=(scopes.SETTLEMENT_READ,))
    status, now = await get(staff, "/settlement/reports/R12")
    assert (status, now.count(b"\n")) == (200, 1)  # all is settled
    before = (NOON - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    status, empty = await get(staff, f"/settlement/reports/R12?at={before}")
    assert (status, empty.count(b"\n")) == (200, 1)
    for wrong in ("yesterday", "2026-03-02T12:00:00"):
        assert (await get(staff, f"/settlement/reports/R12?at={wrong}"))[0] == 400
