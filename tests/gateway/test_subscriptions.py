"""Balances and transactions as they happen: over events and sockets, resumed, and closed when they must be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway import sockets
from gateway.endpoint import Endpoint
from gateway.following import MOST_WAITING, Follower, Resync, TransactionListener
from gateway.oauth import clients
from gateway.schema import schema
from gateway.sockets import Socket
from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import feed
from members import cards
from members.cards import IssuedCard
from partners.receipts import feed as receipts
from tests.builders import NOON
from tests.founded import a_coalition, met
from tests.gateway import listening, stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_purchase_api import ACCRUE, RETURN

BALANCE = """subscription($ref: MemberRefInput!, $after: String) {
  balanceChanged(ref: $ref, after: $after) { cursor balance { available pending } } }"""
TRANSACTIONS = """subscription($after: String) {
  transactionPosted(after: $after) { cursor transaction { id kind reference points } } }"""
HERE = "http://127.0.0.1:8000"


tills = stand.Clients("bakery", "grocer")
template = a_coalition(tills.add, bakery={"return_window_days": 0}, grocer={})


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await tills.sign_in(opened)
        opened.app.state.services.follower = quick = Follower(
            opened.app.state.services.database.pool, step_seconds=0.01
        )
        yield opened
        await quick.close()
    await coalition.desk.close()


@pytest.fixture
def till(gateway: Gateway) -> Till:
    return gateway.tills["bakery"]


@pytest.fixture
async def card(gateway: Gateway) -> IssuedCard:
    return await gateway.coalition.add_member()


def beating(
    gateway: Gateway, seconds: float = 0.02, *, silent_seconds: float = 30.0, init_seconds: float = 5.0
) -> None:
    """An endpoint whose streams beat quickly."""
    state = gateway.app.state
    state.endpoint = Endpoint(schema, state.services, state.oauth.bearers, beat_seconds=seconds)
    state.endpoint.streams.is_draining = lambda: state.readiness.draining
    state.socket = Socket(state.endpoint, allowed_origin=HERE, silent_seconds=silent_seconds, init_seconds=init_seconds)


async def accrue(till: Till, card: IssuedCard, total: str = "100.00", **more: Any) -> Any:
    receipt = stand.receipt(total, **more)
    given = {"idempotencyKey": stand.key(), "member": {"cardNumber": card.number}, "receipt": receipt}
    done = await till.ask(ACCRUE, input=given)
    assert done["__typename"] == "AccruePointsSuccess", done
    return receipt


def by(card: IssuedCard) -> dict[str, str]:
    return {"cardNumber": card.number}


# --- Over events --------------------------------------------------------------------------------------------


async def test_a_balance_is_told_at_once_and_whenever_it_changes_whoever_changed_it(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async with listening.events(gateway.app, till.token, BALANCE, ref=by(card)) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert stream.headers["cache-control"] == "no-store"
        assert (await stream.data())["balance"] == {"available": "0", "pending": "0"}
        await accrue(till, card)
        assert (await stream.data())["balance"] == {"available": "100", "pending": "0"}
        await accrue(gateway.tills["grocer"], card, "7.00")
        assert (await stream.data())["balance"] == {"available": "100", "pending": "7"}


async def test_a_partner_hears_of_its_own_transactions_and_of_no_other(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    other = await gateway.till("bakery")
    async with (
        listening.events(gateway.app, till.token, TRANSACTIONS) as ours,
        listening.events(gateway.app, gateway.tills["grocer"].token, TRANSACTIONS) as theirs,
    ):
        await until_listening(gateway, 2)
        theirs_first = await accrue(gateway.tills["grocer"], card)
        ours_first = await accrue(other, card)
        original = {"receipt": {key: ours_first[key] for key in ("reference", "outlet", "businessDate", "terminal")}}
        back = {
            "idempotencyKey": stand.key(), "original": original, "what": {"whole": True}, "reference": "BACK",
            "outlet": "1", "terminal": "1", "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(),
        }  # fmt: skip
        assert (await till.ask(RETURN, input=back))["__typename"] == "ReturnPurchaseSuccess"
        await accrue(gateway.tills["grocer"], card, reference="LAST")
        assert [(await theirs.data())["transaction"]["reference"] for _ in range(2)] == [
            theirs_first["reference"], "LAST",
        ]  # fmt: skip
        told = [(await ours.data())["transaction"] for _ in range(2)]
        assert [(each["kind"], each["reference"], each["points"]) for each in told] == [
            ("PURCHASE", ours_first["reference"], "100"), ("RETURN", "BACK", "-100"),
        ]  # fmt: skip
        asked = await till.ask("query($r: TransactionRefInput!) { transaction(ref: $r) { id } }", r=original)
        assert asked["id"] == told[0]["id"]


async def until_listening(gateway: Gateway, streams: int) -> None:
    """Wait until so many listeners have their place in the feed."""
    follower = gateway.app.state.services.follower
    async with asyncio.timeout(listening.PATIENCE_SECONDS):
        while sum(len(each) for each in follower._by_partner.values()) < streams:
            await asyncio.sleep(0.005)


async def test_a_stream_is_taken_up_again_behind_its_last_cursor_and_nothing_is_missed(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async with listening.events(gateway.app, till.token, TRANSACTIONS) as stream:
        await until_listening(gateway, 1)
        await accrue(till, card, reference="A")
        await accrue(till, card, reference="B")
        first, second = await stream.data(), await stream.data()
    for number in range(7):
        await accrue(till, card, reference=f"C{number}")
        await accrue(gateway.tills["grocer"], card)
    async with listening.events(gateway.app, till.token, TRANSACTIONS, after=second["cursor"]) as again:
        await accrue(till, card, reference="D")
        missed = [(await again.data())["transaction"]["reference"] for _ in range(8)]
    assert missed == [*(f"C{number}" for number in range(7)), "D"]
    async with listening.events(gateway.app, till.token, TRANSACTIONS, after=first["cursor"]) as again:
        assert (await again.data())["transaction"]["reference"] == "B"


async def test_a_balance_that_has_not_changed_since_the_cursor_is_not_told_again(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async with listening.events(gateway.app, till.token, BALANCE, ref=by(card)) as stream:
        cursor = (await stream.data())["cursor"]
    beating(gateway)
    async with listening.events(gateway.app, till.token, BALANCE, ref=by(card), after=cursor) as again:
        assert (await again.event(beats=True))[0] == ""
        assert (await again.event(beats=True))[0] == ""
        await accrue(till, card)
        assert (await again.data())["balance"]["available"] == "100"


@pytest.mark.parametrize("query", [BALANCE, TRANSACTIONS])
async def test_a_cursor_of_another_partner_member_or_list_is_refused(
    gateway: Gateway, till: Till, card: IssuedCard, query: str
) -> None:
    other = await gateway.coalition.add_member()
    async with listening.events(gateway.app, till.token, BALANCE, ref=by(other)) as stream:
        cursor = (await stream.data())["cursor"]
    async with listening.events(gateway.app, gateway.tills["grocer"].token, BALANCE, ref=by(other)) as stream:
        foreign = (await stream.data())["cursor"]
    assert cursor != foreign
    for wrong in (cursor, foreign, "pst_x", ""):
        variables = {"ref": by(card)} if query == BALANCE else {}
        async with listening.events(gateway.app, till.token, query, after=wrong, **variables) as refused:
            kind, payload = await refused.event()
            assert (kind, payload["errors"][0]["extensions"]["code"]) == ("next", "BAD_USER_INPUT")
            assert (await refused.event())[0] == "complete"
            assert (await refused.event())[0] == "end"


async def test_a_member_whom_nobody_knows_or_whose_card_is_blocked_is_the_same_error(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async with gateway.coalition.database.transaction() as connection:
        await cards.block(connection, card.card_id, at=NOON)
    told = []
    for ref in (by(card), {"phone": "+37360000000"}, {"id": "mbr_x"}, {"cardNumber": "1"}):
        async with listening.events(gateway.app, till.token, BALANCE, ref=ref) as stream:
            _, payload = await stream.event()
            [error] = payload["errors"]
            told.append((error["message"], error["extensions"]["code"]))
    assert len(set(told)) == 1
    assert told[0][1] == "BAD_USER_INPUT"


async def test_a_query_is_not_streamed_and_a_subscription_not_answered_otherwise(gateway: Gateway, till: Till) -> None:
    async with listening.events(gateway.app, till.token, "{ viewer { __typename } }") as stream:
        assert (stream.status, (await stream.body())["errors"][0]["extensions"]["code"]) == (406, "BAD_REQUEST")
    async with listening.events(gateway.app, till.token, "subscription { nothing }") as stream:
        assert stream.status == 400
    assert (await till.post(TRANSACTIONS)).status_code == 406


async def test_a_token_without_the_scope_hears_nothing(gateway: Gateway) -> None:
    poor = await gateway.till("bakery", wanted=["points:accrue"])
    for query, variables in ((TRANSACTIONS, {}), (BALANCE, {"ref": {"cardNumber": "1"}})):
        async with listening.events(gateway.app, poor.token, query, **variables) as stream:
            assert (stream.status, (await stream.body())["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")


# --- The end of a stream ------------------------------------------------------------------------------------


async def test_a_stream_beats_while_nothing_happens(gateway: Gateway, till: Till) -> None:
    beating(gateway)
    async with listening.events(gateway.app, till.token, TRANSACTIONS) as stream:
        for _ in range(4):
            assert await stream.event(beats=True) == ("", None)


async def test_a_stream_ends_when_its_client_is_suspended(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    beating(gateway)
    async with listening.events(gateway.app, till.token, TRANSACTIONS) as stream:
        await until_listening(gateway, 1)
        await suspend(gateway, till)
        kind, payload = await stream.event()
        assert (kind, payload["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
        assert (await stream.event())[0] == "complete"
        await asyncio.wait_for(stream.task, 60)
    assert gateway.app.state.endpoint.streams.open_streams() == 0


async def suspend(gateway: Gateway, till: Till) -> None:
    async with gateway.coalition.database.transaction() as connection:
        await clients.suspend(connection, till.client_id, by="tester", at=clock.wall())
    gateway.app.state.oauth.bearers._clients._read_at = float("-inf")  # as if ten seconds had passed


async def test_a_stream_ends_with_its_token(gateway: Gateway, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    beating(gateway)
    async with listening.events(gateway.app, till.token, TRANSACTIONS) as stream:
        await until_listening(gateway, 1)
        late = clock.wall() + timedelta(hours=1)
        monkeypatch.setattr(gateway.app.state.oauth.bearers, "_now", lambda: late)
        assert (await stream.event())[1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await stream.event())[0] == "complete"


async def test_a_balance_ends_when_the_member_may_no_longer_be_read(
    gateway: Gateway, till: Till, card: IssuedCard, server: postgres.Server, database_name: str
) -> None:
    import asyncpg

    async with listening.events(gateway.app, till.token, BALANCE, ref=by(card)) as stream:
        await stream.data()
        owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
        await owner.execute("UPDATE members.member SET status = 'CLOSED' WHERE member_id = $1", card.member_id)
        await owner.close()
        stream_of = gateway.app.state.services.follower
        for listener in stream_of._by_holder[card.member_id]:
            listener.tell()
        kind, payload = await stream.event()
        assert kind == "next"
        assert payload["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_whoever_hangs_up_leaves_nothing_behind(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    follower = gateway.app.state.services.follower
    async with listening.events(gateway.app, till.token, BALANCE, ref=by(card)) as stream:
        await stream.data()
        assert gateway.app.state.endpoint.streams.open_streams() == 1
    assert gateway.app.state.endpoint.streams.open_streams() == 0
    assert not follower._by_holder
    await asyncio.wait_for(follower._running, 60)  # nobody listens: it rests


async def test_a_process_that_drains_ends_its_streams(gateway: Gateway, till: Till) -> None:
    beating(gateway)
    async with listening.events(gateway.app, till.token, TRANSACTIONS) as stream:
        gateway.app.state.readiness.draining = True
        assert (await stream.event())[1]["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    gateway.app.state.readiness.draining = False


async def test_a_client_has_so_many_streams_and_no_more(
    gateway: Gateway, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.streams.MOST_STREAMS_OF_A_CLIENT", 1)
    async with listening.events(gateway.app, till.token, TRANSACTIONS) as first:
        assert first.status == 200
        async with listening.events(gateway.app, till.token, TRANSACTIONS) as second:
            assert (second.status, second.headers["retry-after"]) == (429, "30")
        async with listening.events(gateway.app, gateway.tills["grocer"].token, TRANSACTIONS) as other:
            assert other.status == 200


# --- The reader behind them ---------------------------------------------------------------------------------


async def test_one_reader_serves_however_many_listen(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    pool = gateway.app.state.services.database.pool
    follower = Follower(pool, step_seconds=3_600)
    statements: list[str] = []
    async with pool.acquire() as connection:
        assert connection  # the pool is there; what is counted below are the follower's own calls
    original = feed.entries

    async def counted(*given: Any, **more: Any) -> Any:
        statements.append("entries")
        return await original(*given, **more)

    feed.entries, put_back = counted, original  # type: ignore[assignment]
    try:
        holders = [follower.balance(card.member_id) for _ in range(50)]
        partner_id = gateway.coalition.callers["bakery"].partner_id
        partners = [follower.transactions(partner_id) for _ in range(50)]
        heard_balances = [await each.__aenter__() for each in holders]
        heard_transactions = [await each.__aenter__() for each in partners]
        await accrue(till, card, reference="ONE")
        statements.clear()
        await follower.step()
        assert statements == ["entries"]
        for listener in heard_balances:
            await asyncio.wait_for(listener.moved(), 60)
        told = [await asyncio.wait_for(listener.posted(), 60) for listener in heard_transactions]
        assert {each.receipt.reference for each in told} == {"ONE"}
        for each in [*holders, *partners]:
            await each.__aexit__(None, None, None)
    finally:
        feed.entries = put_back  # type: ignore[assignment]
        await follower.close()


async def test_an_entry_that_commits_late_is_neither_missed_nor_told_out_of_turn(
    gateway: Gateway, till: Till, card: IssuedCard, server: postgres.Server, database_name: str
) -> None:
    import asyncpg

    pool = gateway.app.state.services.database.pool
    since = await feed.horizon(pool)
    slow = await asyncpg.connect(server.dsn(database_name, server.superuser))
    hold = slow.transaction()
    await hold.start()
    await slow.fetchval("SELECT pg_current_xact_id()")  # a smaller number than what follows, and not finished
    await accrue(till, card)
    partner_id = gateway.coalition.callers["bakery"].partner_id
    nothing, following = await feed.entries(pool, since=since, partner_ids=[partner_id])
    assert nothing == []
    await hold.rollback()
    await slow.close()
    async with asyncio.timeout(60):
        entries: list[feed.Entry] = []
        while not entries:
            entries, following = await feed.entries(pool, since=following, partner_ids=[partner_id])
    [posted] = await receipts.posted(pool, entries)
    assert posted.receipt.partner_id == partner_id


async def test_a_listener_that_does_not_take_what_comes_is_told_to_begin_again() -> None:
    listener = TransactionListener(1, 0)
    for number in range(MOST_WAITING + 1):
        listener.tell(receipts.Posted(feed.Place(number, 1, 1), None))  # type: ignore[arg-type]
    assert [(await listener.posted()).place.xid for _ in range(MOST_WAITING)] == list(range(MOST_WAITING))
    with pytest.raises(Resync):
        await listener.posted()


# --- Over a socket ------------------------------------------------------------------------------------------


async def test_subscriptions_over_a_socket_run_beside_each_other_and_are_ended_one_by_one(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        await socket.send({"type": "ping"})
        assert (await socket.message())["type"] == "pong"
        await socket.subscribe("b", BALANCE, ref=by(card))
        first = await socket.message()
        assert (first["id"], first["type"]) == ("b", "next")
        await socket.subscribe("t", TRANSACTIONS)
        await until_listening(gateway, 1)
        await accrue(till, card)
        heard = {message["id"]: message for message in [await socket.message(), await socket.message()]}
        assert heard["b"]["payload"]["data"]["balanceChanged"]["balance"]["available"] == "100"
        assert heard["t"]["payload"]["data"]["transactionPosted"]["transaction"]["points"] == "100"
        await socket.send({"id": "b", "type": "complete"})
        await accrue(till, card)
        assert (await socket.message())["id"] == "t"
    assert gateway.app.state.endpoint.streams.open_streams() == 0


async def test_a_browser_sends_its_token_when_it_begins(gateway: Gateway, till: Till) -> None:
    async with listening.accepted(gateway.app, None, origin=HERE) as socket:
        await socket.acknowledged({"authorization": f"Bearer {till.token}"})
    for payload in (None, {}, {"authorization": 1}, {"authorization": "Bearer x.y.z"}, [1]):
        async with listening.accepted(gateway.app, None) as socket:
            await socket.send({"type": "connection_init", "payload": payload})
            assert await socket.closed() == 4403


@pytest.mark.parametrize("protocol", ["graphql-ws", "soap", ""])
async def test_another_protocol_is_refused_before_it_is_accepted(gateway: Gateway, till: Till, protocol: str) -> None:
    async with listening.socket(gateway.app, till.token, protocol=protocol) as socket:
        assert await socket.raw() == {"type": "websocket.close", "code": 1002}


async def test_a_page_of_another_origin_is_refused_before_it_is_accepted(gateway: Gateway, till: Till) -> None:
    for origin in ("https://evil.example", "null", HERE + ".evil.example", "http://127.0.0.1:8001"):
        async with listening.socket(gateway.app, till.token, origin=origin) as socket:
            assert await socket.raw() == {"type": "websocket.close", "code": 1008}


@pytest.mark.parametrize(
    "message", ["[]", '"hi"', "{", "1", "null", '{"type": 7}', "{}", '{"type": "x"}', "x" * 65_537]
)
async def test_a_message_that_is_none_closes_the_socket(gateway: Gateway, till: Till, message: str) -> None:
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.send(message)
        assert await socket.closed() == (4401 if message == '{"type": "x"}' else 4400)
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        await socket.send(message)
        assert await socket.closed() == 4400


async def test_bytes_are_no_message(gateway: Gateway, till: Till) -> None:
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.to_app.put({"type": "websocket.receive", "bytes": b'{"type": "connection_init"}'})
        assert await socket.closed() == 4400


async def test_subscribing_before_the_beginning_and_beginning_twice_close_the_socket(
    gateway: Gateway, till: Till
) -> None:
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.subscribe("1", TRANSACTIONS)
        assert await socket.closed() == 4401
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        await socket.send({"type": "connection_init"})
        assert await socket.closed() == 4429


async def test_whoever_does_not_begin_in_time_is_closed(gateway: Gateway, till: Till) -> None:
    beating(gateway, init_seconds=0.05)
    async with listening.accepted(gateway.app, till.token) as socket:
        assert await socket.closed() == 4408


async def test_a_number_in_use_and_one_subscription_too_many_close_the_socket(gateway: Gateway, till: Till) -> None:
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        await socket.subscribe("1", TRANSACTIONS)
        await socket.subscribe("1", TRANSACTIONS)
        assert await socket.closed() == 4409
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        for number in range(sockets.MOST_SUBSCRIPTIONS + 1):
            await socket.subscribe(str(number), TRANSACTIONS)
        assert await socket.closed() == 4429
    assert gateway.app.state.endpoint.streams.open_streams() == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ viewer { __typename } }", "BAD_REQUEST"),
        ('mutation { cancelPurchase(input: {idempotencyKey: "0123456789abcdef", receipt: {reference: "R", outlet: "1", businessDate: "2026-03-02"}}) { __typename } }', "BAD_REQUEST"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { transactionPosted { cursor } balanceChanged(ref: {}) { cursor } }", "GRAPHQL_VALIDATION_FAILED"),
        ("", "BAD_REQUEST"),
    ],
)  # fmt: skip
async def test_what_is_no_good_subscription_is_an_error_of_its_own_and_runs_nothing(
    gateway: Gateway, till: Till, query: str, code: str
) -> None:
    before = await gateway.coalition.database.pool.fetchval("SELECT count(*) FROM partners.receipt_claim")
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        await socket.subscribe("1", query)
        message = await socket.message()
        assert (message["id"], message["type"]) == ("1", "error")
        assert message["payload"][0]["extensions"]["code"] == code
        await socket.send({"type": "ping"})
        assert (await socket.message())["type"] == "pong"
    assert await gateway.coalition.database.pool.fetchval("SELECT count(*) FROM partners.receipt_claim") == before


async def test_a_socket_closes_when_its_client_is_suspended(gateway: Gateway, till: Till) -> None:
    beating(gateway)
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        await suspend(gateway, till)
        assert await socket.closed() == 4403


async def test_a_socket_that_says_nothing_to_a_ping_is_closed(gateway: Gateway, till: Till) -> None:
    beating(gateway, silent_seconds=0.1)
    async with listening.accepted(gateway.app, till.token) as socket:
        await socket.acknowledged()
        while (message := await socket.message(pings=True))["type"] == "ping":
            pass
        assert (message["type"], message["code"]) == ("websocket.close", 4499)


async def test_a_socket_elsewhere_than_at_graphql_is_refused(gateway: Gateway, till: Till) -> None:
    async with listening._open(
        gateway.app,
        {"type": "websocket", "scheme": "ws", "headers": [], "path": "/elsewhere", "subprotocols": []},
        listening.Sock,
    ) as socket:
        await socket.to_app.put({"type": "websocket.connect"})
        assert (await socket.raw())["type"] == "websocket.close"
