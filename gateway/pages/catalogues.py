"""What pages say, in the programme's languages: gettext catalogues, read from their .po files when a process begins.

English stands in the pages themselves. A test finds every text of the pages in every catalogue.
"""

from __future__ import annotations

from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

HERE = Path(__file__).parent / "locale"


@lru_cache(maxsize=8)
def translations(language: str) -> NullTranslations:
    """The texts of a language; English ones where we have no catalogue."""
    if not (HERE / f"{language}.po").exists():
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def catalogue(language: str) -> Catalog:
    """The catalogue of a language as it is written."""
    with (HERE / f"{language}.po").open("rb") as written:
        return read_po(written, locale=language)


def marked(text: str) -> str:
    """A text that is translated where it is shown; this marks it for the catalogues."""
    return text
