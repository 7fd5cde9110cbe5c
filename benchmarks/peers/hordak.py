"""django-hordak as a driver, run by the Python of its own environment: a transaction with two legs per accrual.

Its balances are sums over legs and no row is shared, so it needs no lock; in turn it has neither idempotency nor lots.
"""

from __future__ import annotations

import random
import sys
import threading
import time

import django
from django.conf import settings
from django.core.management import call_command

from benchmarks.peers import crew
from benchmarks.peers.crew import CALLERS, Order, Yield

PARTNERS = 50
MEMBERS = 2_000
POINTS = 10


def configure(socket_folder: str, port: str, user: str, database: str) -> None:
    """Django with the applications that hordak needs, on the benchmark's server."""
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": socket_folder,
                "PORT": port,
                "USER": user,
                "NAME": database,
                "CONN_MAX_AGE": None,
            }
        },
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "hordak"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        CURRENCIES=["EUR"],
        DEFAULT_CURRENCY="EUR",
        SECRET_KEY="only for measuring",
    )
    django.setup()


def found() -> None:
    """Make the tables, and accounts of partners (expense) and of members (liability), the partners' first."""
    from hordak.models import Account

    call_command("migrate", verbosity=0, interactive=False)
    kinds = [Account.TYPES.expense] * PARTNERS + [Account.TYPES.liability] * MEMBERS
    Account.objects.bulk_create([
        Account(name=str(number), type=kind, currencies=["EUR"], tree_id=number, level=0, lft=1, rght=2)
        for number, kind in enumerate(kinds, 1)
    ])  # fmt: skip


class Worker:
    """One process of the crew: callers in threads, each with a connection of its own while an order lasts."""

    def __call__(self, order: Order) -> Yield:
        """Carry out an order."""
        latencies: list[float] = []
        failures: list[BaseException] = []
        callers = [
            threading.Thread(target=self._call, args=(order, order.seed * CALLERS + number, latencies, failures))
            for number in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        if failures:
            raise failures[0]
        return Yield(len(latencies), latencies)

    def _call(self, order: Order, seed: int, latencies: list[float], failures: list[BaseException]) -> None:
        from django.db import connection
        from djmoney.money import Money
        from hordak.models import Account

        drawn = random.Random(seed)
        end = time.perf_counter() + order.seconds
        try:
            first = Account.objects.order_by("pk").values_list("pk", flat=True)[0]
            while (began := time.perf_counter()) < end:
                partner = Account.objects.get(pk=first + (0 if order.hot else drawn.randrange(PARTNERS)))
                member = Account.objects.get(pk=first + PARTNERS + drawn.randrange(MEMBERS))
                member.transfer_to(partner, Money(POINTS, "EUR"))
                latencies.append((time.perf_counter() - began) * 1000)
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()


def main() -> None:
    """Make the tables in the database given, then serve."""
    configure(*sys.argv[1:5])
    found()
    from django.db import connection

    connection.close()
    crew.serve(Worker)


if __name__ == "__main__":
    main()
