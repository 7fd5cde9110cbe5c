"""What pages say, in the programme's languages: gettext catalogues, read from their .po files when a process begins.

English stands in the pages themselves. A language has a file for each part of the pages, and a text stands in one of
them. A test finds every text of the pages in every language.
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
    if not (HERE / language).is_dir():
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def catalogue(language: str) -> Catalog:
    """The catalogue of a language, its files together as they are written. Raises ValueError where two have a text."""
    whole = Catalog(locale=language)
    for file in sorted((HERE / language).glob("*.po")):
        with file.open("rb") as written:
            for message in read_po(written, locale=language):
                if message.id and message.id in whole:
                    raise ValueError(f"{file.name} of {language} has a text that another file has: {message.id!r}")
                if message.id:
                    whole[message.id] = message
    return whole


def marked(text: str) -> str:
    """A text that is translated where it is shown; this marks it for the catalogues."""
    return text
