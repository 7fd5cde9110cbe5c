"""Orders of rewards that wait; the statement is in the file of the same name."""

from pathlib import Path

from alembic import op

from migrations import run_script

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Run the statement."""
    run_script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
