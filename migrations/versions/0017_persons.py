"""Tables of people at partners, of what people ask over their sessions, and of the keys; statements: the .sql file."""

from pathlib import Path

from alembic import op

from migrations import run_script

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Run the statements."""
    run_script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
