"""Arithmetic of the figures: percentiles, ratios to neighbours, draws, what pgbench prints."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks import draws, figures, pgbench, storage
from benchmarks.figures import Slice
from benchmarks.storage import Size


def test_a_percentile_is_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [figures.percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert figures.percentile([7.0], 0.99) == 7.0
    assert figures.percentile([], 0.5) is None


def test_a_ratio_is_to_the_mean_of_the_units_beside_it() -> None:
    assert figures.ratios([300.0, 50.0], [100.0, 200.0, 0.0]) == [2.0, 0.5]
    with pytest.raises(ValueError, match="before the first slice"):
        figures.ratios([1.0], [1.0])


def test_drift_is_a_share_of_the_mean_whichever_way() -> None:
    assert figures.drift(90.0, 110.0) == figures.drift(110.0, 90.0) == pytest.approx(0.2)


def test_a_slice_tells_operations_a_second() -> None:
    assert Slice(300, 1.5).per_second == 200.0


def test_zipf_draws_the_kth_in_proportion_to_one_over_k() -> None:
    among = list(range(1, 101))
    draw = draws.zipf(among, seed=7)
    drawn = Counter(draw() for _ in range(100_000))
    harmonic = sum(1 / rank for rank in among)
    for rank in (1, 2, 5, 10, 50):
        assert drawn[rank] / 100_000 == pytest.approx(1 / rank / harmonic, rel=0.15)
    assert set(drawn) <= set(among)


def test_a_steeper_zipf_draws_the_first_more_often() -> None:
    draw = draws.zipf(["first", *["other"] * 9], seed=1, exponent=3.0)
    assert Counter(draw() for _ in range(1_000))["first"] > 700


@pytest.mark.parametrize("kind", [draws.zipf, draws.uniform])
def test_the_same_seed_draws_the_same(kind) -> None:
    one, other, another = kind(range(50), 3), kind(range(50), 3), kind(range(50), 4)
    drawn = [one() for _ in range(100)]
    assert drawn == [other() for _ in range(100)]
    assert drawn != [another() for _ in range(100)]
    assert len(set(drawn)) > 10


def test_what_an_operation_stores_is_what_its_tables_grew_by() -> None:
    before = {"lot": Size(8_192, 16_384), "cutoff": Size(8_192, 8_192)}
    after = {"lot": Size(16_192, 20_384), "cutoff": Size(8_192, 8_192), "journal": Size(2_000, 0)}
    assert storage.grown(before, after, 100) == {
        "lot": {"heap": 80.0, "indexes": 40.0}, "journal": {"heap": 20.0, "indexes": 0.0},
    }  # fmt: skip


PRINTED = """
transaction type: accrue.sql
number of transactions actually processed: 12345
number of failed transactions: 0 (0.000%)
latency average = 2.591 ms
initial connection time = 12.345 ms
tps = 6172.500000 (without initial connection time)
"""


def test_pgbench_is_read_as_it_prints() -> None:
    assert pgbench.count(PRINTED) == 12345
    assert pgbench.rate(PRINTED) == 6172.5
    with pytest.raises(RuntimeError, match="printed something else"):
        pgbench.rate("pgbench: nothing of the kind")


def test_pgbench_s_log_gives_latencies_in_ms() -> None:
    assert pgbench.latencies("0 1 2591 0 1700000000 1234\n3 7 990 1 1700000001 99\n") == [2.591, 0.99]
