"""What the pages say: in every language, with the same values, and nothing unused."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import gateway.sessions
from gateway.context import LANGUAGES
from gateway.sessions import codes, passkeys, session, texts
from kit.errors import Rejection
from members import messages

HERE = Path(gateway.sessions.__file__).parent


def test_every_text_is_there_in_every_language_with_the_same_values() -> None:
    for key, said in texts.TEXTS.items():
        assert set(said) == set(LANGUAGES), key
        fields = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in said.values()]
        assert fields[0] == fields[1] == fields[2], key
        assert all(text.strip() for text in said.values()), key


def test_every_text_that_a_template_names_exists_and_every_text_is_named_somewhere() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(HERE.rglob("*.html")))
    named = set(re.findall(r"\bt\(\s*[\"'](\w+)[\"']", sources)) | set(re.findall(r'else "(\w+)"', sources))
    assert named <= set(texts.TEXTS)
    sources += "".join(path.read_text(encoding="utf-8") for path in (HERE / "pages.py", HERE / "views.py"))
    elsewhere = {*messages.CONSENT_FOR, *outcomes(), *(no.code for no in shown())}
    assert {key for key in texts.TEXTS if f'"{key}"' not in sources and f"'{key}'" not in sources} <= elsewhere


def outcomes() -> set[str]:
    """What can become of a message."""
    return {
        messages.SENT, messages.NO_CHANNEL, messages.CONSENT_WITHDRAWN, messages.TOO_LATE, messages.REFUSED,
        messages.ERASED,
    }  # fmt: skip


def shown() -> tuple[type[Rejection], ...]:
    """The rejections that a page can show."""
    return (
        codes.SignInCodeInvalid, codes.SignInTooOften, passkeys.PasskeyInvalid, passkeys.PasskeyUnknown,
        passkeys.PasskeysTooMany, session.StepUpRequired, messages.AddressUnknown, messages.PersonalInvalid,
    )  # fmt: skip


def test_every_purpose_outcome_and_rejection_that_a_page_shows_has_a_text() -> None:
    assert {*messages.CONSENT_FOR, *outcomes(), *(no.code for no in shown())} <= set(texts.TEXTS)


def test_a_language_that_is_none_of_ours_is_english() -> None:
    assert texts.text("sign_in", "de") == "Sign in"
