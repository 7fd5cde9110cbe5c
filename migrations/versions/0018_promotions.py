"""Tables of promotions, their rules and releases, budgets, and discounts to be cleared."""

from pathlib import Path

from alembic import op

from migrations import run_script

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Run the statements."""
    run_script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
