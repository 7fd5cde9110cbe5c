"""${message}"""

from pathlib import Path

from alembic import op

from migrations import run_script

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    run_script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
