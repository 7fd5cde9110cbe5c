"""Balances as a domain, rules of a new lot, what an accrual answers; the file of the same name has the statements."""

from pathlib import Path

from alembic import op

from migrations import run_script

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Run the statements."""
    run_script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
