"""PURE: bank accounts and the references that payments carry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from kit.errors import FieldProblem, Rejection

_REFERENCE = re.compile(r"[0-9A-Z]{1,21}")


class BankAccountInvalid(Rejection):
    """The account number is not one that a bank could have given; `problems` says why."""

    code = "BANK_ACCOUNT_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class BankAccount:
    """An account with a bank: whose it is, and its number, which is not shown whole."""

    holder: str
    iban: str = field(repr=False)
    bic: str | None = None

    @property
    def masked(self) -> str:
        """The number as people may see it: country, check digits and the last four."""
        return f"{self.iban[:4]}…{self.iban[-4:]}"


def account(holder: str, iban: str, bic: str | None = None) -> BankAccount:
    """An account whose number was checked: length, form and check digits (ISO 13616). Rejects BANK_ACCOUNT_INVALID."""
    problems = []
    if not holder.strip() or len(holder) > 70:
        problems.append(FieldProblem(("holder",), "REQUIRED", "whose account it is, 70 characters at most"))
    number = ""
    try:
        number = str(IBAN(iban, validate_bban=True).compact)
    except SchwiftyException as wrong:
        problems.append(FieldProblem(("iban",), "INVALID", str(wrong)))
    if bic is not None and not re.fullmatch(r"[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?", bic):
        problems.append(FieldProblem(("bic",), "INVALID", "8 or 11 characters (ISO 9362)"))
    if problems:
        raise BankAccountInvalid("this is no bank account that could be paid", problems=problems)
    return BankAccount(holder.strip(), number, bic)


def creditor_reference(text: str) -> str:
    """A reference with check digits, `RF18…` (ISO 11649), of up to 21 letters and digits. Raises ValueError."""
    if not _REFERENCE.fullmatch(text):
        raise ValueError("a creditor reference has 1 to 21 capital letters and digits")
    return f"RF{98 - _mod97(text + 'RF00'):02d}{text}"


def read_creditor_reference(reference: str) -> str | None:
    """The text inside a creditor reference, written with or without spaces; None where its check digits are wrong."""
    compact = reference.replace(" ", "").upper()
    if not re.fullmatch(r"RF[0-9]{2}[0-9A-Z]{1,21}", compact) or _mod97(compact[4:] + compact[:4]) != 1:
        return None
    return compact[4:]


def _mod97(text: str) -> int:
    """ISO/IEC 7064, MOD 97-10: letters are 10 to 35."""
    return int("".join(str(int(character, 36)) for character in text)) % 97
