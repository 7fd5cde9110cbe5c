"""What we write: in three languages, with the reader's clock, and never to sell anything."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from string import Formatter
from zoneinfo import ZoneInfo

import pytest

from gateway.context import LANGUAGES
from gateway.messages import letters
from gateway.messages.letter_texts import TEXTS
from members.messages import Letter

AT = datetime(2026, 7, 31, 22, 30, tzinfo=UTC)
SITE = "https://points.example.org"
CHISINAU = ZoneInfo("Europe/Chisinau")


def every_letter(language: str) -> list[Letter]:
    """One of each kind."""
    return [
        letters.sign_in_code(language, code="12345678", minutes=10, programme="Old Town", site=SITE),
        letters.invitation(language, name="anna", programme="Old Town", site=SITE),
        *(
            letters.security_notice(language, what=what, at=AT, zone=CHISINAU, site=SITE)
            for what in (
                letters.PASSKEY_ADDED, letters.PASSKEY_REMOVED, letters.SIGNED_OUT_EVERYWHERE,
                letters.SPENDING_UNLOCKED, letters.DAILY_CAP_RAISED, letters.CARD_ON_DEVICE, letters.CARD_IN_WALLET,
            )
        ),
        letters.expiry_notice(language, points=1_500, expires_at=AT, zone=CHISINAU, programme="Old Town"),
        letters.expiry_reminder(
            language, endings=[(AT, 1_500), (AT, 1)], zone=CHISINAU, programme="Old Town", site=SITE
        ),
        letters.renewal_notice(
            language, plan="Plus", amount_minor=9_900, currency="EUR", renews_at=AT, zone=CHISINAU,
            programme="Old Town", site=SITE,
        ),
        *(
            letters.payment_notice(
                language, step=step, plan="Plus", amount_minor=9_900, currency="EUR", reference="000000001-34",
                until=AT, zone=CHISINAU, programme="Old Town", site=SITE,
            )
            for step in ("UNPAID", "ON_HOLD", "ENDED")
        ),
        *(
            letters.claim_notice(
                language, what=what, partner="Bakery", day=AT.date(), points=50, until=AT, zone=CHISINAU, site=SITE
            )
            for what in ("CREDITED", "FOUND", "REFUSED", "DISMISSED")
        ),
        *(
            letters.webhook_disabled(language, host="hooks.bakery.example", reason=reason, site=SITE)
            for reason in ("FAILING", "GONE")
        ),
    ]  # fmt: skip


def fields(text: str) -> set[str]:
    """The names that a text puts values in for."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_letter_is_there_in_every_language_and_says_the_same_values():
    assert len(every_letter("en")) == len(TEXTS)
    for kind, written in TEXTS.items():
        assert set(written) == set(LANGUAGES), kind
        values = {language: fields(subject + body) for language, (subject, body) in written.items()}
        assert len({frozenset(each) for each in values.values()}) == 1, (kind, values)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_transactional_letter_carries_no_advertising(language):
    """P-05: nothing but what it is about, and no address but our own."""
    selling = re.compile(
        r"discount|sale\b|offer|deal|save|bonus|buy|free|скид|акци|распродаж|предложен|бонус|купи|бесплатн|"
        r"reducer|ofert|promo|bonus|cumpăr|gratuit|%|!",
        re.IGNORECASE,
    )
    for letter in every_letter(language):
        assert not selling.search(letter.subject + letter.body), letter
        assert set(re.findall(r"https?://\S+?(?=[\s,;.]|/staff|$)", letter.body)) <= {"https://points"}, letter
        assert "<" not in letter.body
    assert selling.search("Save 20 % now!")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_code_is_in_the_body_and_not_in_the_subject(language):
    letter = letters.sign_in_code(language, code="12345678", minutes=10, programme="Old Town", site=SITE)
    assert "1234 5678" in letter.body
    assert not re.search(r"\d", letter.subject)


@pytest.mark.parametrize(
    ("language", "points", "said"),
    [("en", 1, "1 point "), ("en", 1_500, "1,500 points "), ("ru", 21, "21 балл "), ("ru", 5, "5 баллов "), ("ro", 25, "25 de puncte ")],
)  # fmt: skip
def test_points_are_counted_as_the_language_counts(language, points, said):
    letter = letters.expiry_notice(language, points=points, expires_at=AT, zone=UTC, programme="Old Town")
    assert letter.body.startswith(said)


def test_an_instant_is_told_by_the_reader_s_clock_and_says_whose():
    here = letters.expiry_notice("en", points=1, expires_at=AT, zone=CHISINAU, programme="P").body
    there = letters.expiry_notice("en", points=1, expires_at=AT, zone=ZoneInfo("America/New_York"), programme="P").body
    assert "1 August 2026, 01:30 (Eastern European Summer Time)" in here
    assert "31 July 2026, 18:30 (Eastern Daylight Time)" in there


def test_a_language_that_we_do_not_write_is_told_in_english():
    assert letters.expiry_notice("de", points=2, expires_at=AT, zone=UTC, programme="P").subject == (
        "Points of yours expire soon"
    )


def test_a_programme_s_name_cannot_put_a_line_into_the_header():
    letter = letters.sign_in_code("en", code="12345678", minutes=10, programme="P\r\nBcc: x@y.z", site=SITE)
    assert "\n" not in letter.subject
    assert "\r" not in letter.subject


def test_a_price_is_written_as_the_language_writes_it():
    said = {
        language: letters.renewal_notice(
            language, plan="Plus", amount_minor=9_900, currency="EUR", renews_at=AT, zone=UTC, programme="P", site=SITE
        ).body
        for language in LANGUAGES
    }
    assert "€99.00" in said["en"]
    assert "99,00\u00a0€" in said["ru"]
    assert "99,00\u00a0EUR" in said["ro"]
