"""Uses of rights without money; the statements are in the file of the same name."""

from pathlib import Path

from alembic import op

from migrations import run_script

revision = "0056"
down_revision = "0055"


def upgrade() -> None:
    """Run the statements."""
    run_script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
