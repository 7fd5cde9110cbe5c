"""Figures for a monitor: how the ledger's watch and the readers of its journal stand, which fields of the schema are
used. Totals only, of nobody.

Answered to the machine itself and to nobody else: a scraper runs beside the gateway, and a request that came through
a proxy, which says so in a header, finds no such page. The figures are the database's, so any process of the gateway
gives the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway import usage
from gateway.context import Services
from kit.clock import wall
from ledger import rollups, watch
from ledger.rollups import Lag
from ledger.watch import Count, Position

_OF_A_PROXY = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


async def metrics(request: Request) -> Response:
    """GET /metrics: the figures as Prometheus reads them; 404 for whoever is not this machine."""
    if not is_from_here(request):
        raise HTTPException(404)
    services: Services = request.app.state.services
    async with services.database.reading() as connection:
        families = [
            *_of_watch(await watch.counts(connection), await watch.position(connection)),
            *_of_readers(await rollups.lags(connection)),
            _of_fields(await usage.totals(connection, since=(wall() - usage.LOOK_BACK).date())),
        ]
    registry = CollectorRegistry()
    registry.register(_Given(families))
    return Response(generate_latest(registry), 200, {"Cache-Control": "no-store"}, CONTENT_TYPE_PLAIN_0_0_4)


class _Given(Collector):
    """Families that were made beforehand, since a collector cannot await."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def is_from_here(request: Request) -> bool:
    """Whether a request was sent on this machine, through no proxy."""
    if request.client is None or any(name in request.headers for name in _OF_A_PROXY):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _of_watch(counts: Sequence[Count], position: Position) -> Iterator[Metric]:
    found = sum(count.found for count in counts)
    standing = sum(count.standing for count in counts)
    yield CounterMetricFamily("tessera_ledger_violations_found", "Rules that accounts were ever seen to break.", found)
    yield GaugeMetricFamily("tessera_ledger_violations_standing", "Of them, those that still stand.", standing)
    by_rule = GaugeMetricFamily("tessera_ledger_rule_violations_standing", "The same by broken rule.", labels=["rule"])
    for count in counts:
        by_rule.add_metric([count.rule.partition(" ")[0]], count.standing)
    yield by_rule
    yield CounterMetricFamily("tessera_ledger_watch_accounts", "Accounts that the watch looked at.", position.accounts)
    yield CounterMetricFamily("tessera_ledger_watch_passes", "Passes of the watch over all accounts.", position.passes)
    for name, instant, what in (
        ("looked", position.looked_at, "the watch's last step"),
        ("pass_began", position.pass_began_at, "the beginning of the watch's current pass"),
        ("pass_ended", position.pass_ended_at, "the end of the watch's last pass"),
    ):
        if instant is not None:
            help_text = f"Business instant of {what}."
            yield GaugeMetricFamily(f"tessera_ledger_watch_{name}_timestamp_seconds", help_text, instant.timestamp())


def _of_readers(lags: Sequence[Lag]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "tessera_ledger_entries_waiting",
        "Entries a reader of the journal has not read, at most 100000.",
        labels=["reader"],
    )
    oldest = GaugeMetricFamily(
        "tessera_ledger_oldest_waiting_timestamp_seconds", "When the first of them was recorded.", labels=["reader"]
    )
    for lag in lags:
        waiting.add_metric([lag.reader.lower()], lag.entries)
        if lag.oldest_recorded_at is not None:
            oldest.add_metric([lag.reader.lower()], lag.oldest_recorded_at.timestamp())
    yield waiting
    yield oldest
    yield GaugeMetricFamily(
        "tessera_ledger_transactions_held_back",
        "Transaction numbers that the cluster's oldest running transaction keeps from all readers.",
        max(lag.held_back for lag in lags),
    )
    at_home = min(lag.is_at_home for lag in lags)
    yield GaugeMetricFamily("tessera_ledger_is_at_home", "0 after a restore elsewhere until tessera migrate.", at_home)


def _of_fields(uses: Mapping[str, int]) -> Metric:
    counted = GaugeMetricFamily(
        "tessera_gateway_field_uses", "Requests of the last 30 days that selected a field.", labels=["field"]
    )
    for field, number in uses.items():
        counted.add_metric([field], number)
    return counted
