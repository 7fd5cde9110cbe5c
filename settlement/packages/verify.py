#!/usr/bin/env python3
"""Verifies a settlement package offline: python3 verify.py PACKAGE.zip [--key KEYS.json] [--previous PACKAGE.zip]

It lies in every package and needs Python 3.9 or later and the `cryptography` package, nothing of the network's
operator. It reads the package, recomputes every line of the statement from the movements and the agreed prices, and
says what it found. Exit code 0: everything holds. 1: something does not. 2: this is not a package.

Without --key the signature is checked with the key inside the package, which proves only that nothing was changed
since somebody signed it: compare the key's thumbprint with the one that the operator publishes.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "tessera-settlement-package/1"
LARGEST_FILE = 16 * 2**30
WAYS = {"ACTIVATION": 1, "ADJUSTMENT": 1, "RETURN": -1, "RETURN_OWED": -1, "ADJUSTMENT_TAKEN": -1}
BY_PARTNER = ("REDEMPTION", "REFUND", "BENEFIT", "SUBSCRIPTION_SHARE", "DISCOUNT", "COUPON", "EXPIRY")
NO_SUPPLY = (
    "HOLDBACK_USED", "DEPOSIT_USED", "DEFAULT_LOSS", "DISPUTE_WITHHELD", "DISPUTE_UPHELD", "STORED_LOAD",
    "STORED_SPEND",
    "RECEIPT_CREDITED",
)  # fmt: skip
RULED = {
    "PERIOD": ("TIER_REBATE", "VOLUME_REBATE", "PLATFORM_FEE", "MINIMUM_FEE"),
    "TAX": ("INPUT_TAX", "OUTPUT_TAX"),
    "RETENTION": ("HOLDBACK", "HOLDBACK_RELEASED", "CARRIED_OUT"),
    "ROUNDING": ("ROUNDING",),
}


class Wrong(Exception):  # noqa: N818 - it is a sentence
    """A sentence about what does not hold."""


class Package:
    """A package that was opened: its manifest and its files."""

    def __init__(self, path: str) -> None:
        self.archive = zipfile.ZipFile(path)
        self.names = self.archive.namelist()
        self.manifest_bytes = self.read("manifest.json")
        self.manifest: dict[str, Any] = json.loads(self.manifest_bytes)
        if self.manifest.get("format") != FORMAT:
            raise Wrong("the manifest is not one of " + FORMAT)

    def read(self, name: str) -> bytes:
        """A file, whole."""
        if self.names.count(name) != 1:
            raise Wrong(f"{name} is missing, or there twice")
        if self.archive.getinfo(name).file_size > LARGEST_FILE:
            raise Wrong(f"{name} is too large")
        return self.archive.read(name)

    def json(self, name: str) -> Any:
        """A file as JSON."""
        return json.loads(self.read(name))

    def detail(self) -> Iterator[dict[str, str]]:
        """The movements, one after another."""
        with self.archive.open("detail.csv") as raw:
            yield from csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))


def files_are_those_of_the_manifest(package: Package) -> str:
    """Every file is named in the manifest with its hash, and no other file is there."""
    named = {entry["name"] for entry in package.manifest["files"]}
    extra = set(package.names) - named - {"manifest.json", "manifest.jws", "keys.json"}
    if extra:
        raise Wrong("files that the manifest does not name: " + ", ".join(sorted(extra)))
    for entry in package.manifest["files"]:
        name = entry["name"]
        if package.names.count(name) != 1:
            raise Wrong(f"{name} is missing, or there twice")
        digest = hashlib.sha256()
        with package.archive.open(name) as raw:
            for block in iter(lambda: raw.read(1 << 20), b""):
                digest.update(block)
        if digest.hexdigest() != entry["sha256"]:
            raise Wrong(f"{name} was changed: its hash is not the manifest's")
    return f"{len(named)} files have the hashes of the manifest"


def manifest_is_signed(package: Package, trusted: dict[str, Any] | None) -> str:
    """The manifest's bytes were signed by a key of the operator (Ed25519, detached JWS)."""
    header, payload, signature = package.read("manifest.jws").decode().strip().split(".")
    if payload:
        raise Wrong("the signature is not detached")
    head = json.loads(unbase64(header))
    if head.get("alg") != "EdDSA":
        raise Wrong("the signature is not Ed25519")
    keys = trusted if trusted is not None else package.json("keys.json")
    key = next((key for key in keys["keys"] if thumbprint(key) == head.get("kid")), None)
    if key is None:
        raise Wrong(f"the key {head.get('kid')} is not among the operator's")
    signed = f"{header}.{base64url(package.manifest_bytes)}".encode()
    try:
        Ed25519PublicKey.from_public_bytes(unbase64(key["x"])).verify(unbase64(signature), signed)
    except InvalidSignature:
        raise Wrong("the signature does not fit the manifest") from None
    if canonical(package.manifest) != package.manifest_bytes:
        raise Wrong("the manifest is not written canonically")
    whose = (
        "a key that you trust" if trusted is not None else "the key inside; compare its thumbprint with the published"
    )
    return f"signed by {head['kid']} ({whose})"


def prices_follow_from_the_terms(package: Package) -> str:
    """Each price of a kind is what the terms of its agreement and the way its points are funded make it."""
    checked = 0
    for number, version in package.json("agreements.json")["versions"].items():
        allowed = prices_of(version)
        for kind, prices in version["prices"].items():
            for price in prices:
                if (int(price["sign"]), int(price["unit_price_micro"])) not in allowed.get(kind, ()):
                    raise Wrong(f"agreement {number} gives {kind} no price of {price['unit_price_micro']}")
                checked += 1
    return f"{checked} prices follow from the terms"


def prices_of(version: dict[str, Any]) -> dict[str, set[tuple[int, int]]]:
    """Signs and prices that an agreement gives each kind of movement, micro-units per point."""
    fund, service = int(version["fund_price_micro"]), int(version["service_price_micro"])
    found: dict[str, set[tuple[int, int]]] = {
        "REDEMPTION": {(1, int(version["reimbursement_price_micro"]))},
        "REFUND": {(-1, int(version["reimbursement_price_micro"]))},
        "REDEMPTION_BORNE": {(1, 0)},
        "REFUND_BORNE": {(-1, 0)},
        "FORGIVEN": {(0, 0)},
        "OPENING": {(0, 0)},
        "RETURN_OWED": {(1, fund + service)},
    }
    for text in version["billed_fund_micro"]:
        billed = int(text)
        for kind, way, price in (
            ("ACTIVATION", -1, billed + service), ("ADJUSTMENT", -1, billed + service),
            ("RETURN", 1, billed + service), ("ADJUSTMENT_TAKEN", 1, billed + service),
            ("FUNDED_REDEMPTION", -1, fund - billed), ("FUNDED_REFUND", 1, fund - billed),
            ("FUNDED_REPAYMENT", -1, fund - billed),
            ("EXPIRY", 1, billed * int(version["breakage_share_bp"]) // 10_000),
        ):  # fmt: skip
            found.setdefault(kind, set()).add((way, price))
    return found


def movements_have_the_agreed_prices(package: Package) -> str:
    """Each movement's amount is its points at the agreed price; together they are what the manifest says."""
    versions = package.json("agreements.json")["versions"]
    count = points = micro = 0
    for number, row in enumerate(package.detail(), start=2):
        amount, price = int(row["amount_micro"]), row["unit_price_micro"]
        agreed = versions[row["agreement"]]["prices"].get(row["kind"], [])
        signs = [int(one["sign"]) for one in agreed if one["unit_price_micro"] == price]
        if not signs:
            raise Wrong(f"detail.csv line {number}: not the price of agreement {row['agreement']} for {row['kind']}")
        if amount != signs[0] * int(row["points"]) * int(price):
            raise Wrong(f"detail.csv line {number}: the amount is not points times price")
        count, points, micro = count + 1, points + int(row["points"]), micro + amount
    entry = next(entry for entry in package.manifest["files"] if entry["name"] == "detail.csv")
    if (str(count), str(points), str(micro)) != (entry["rows"], entry["points"], entry["amount_micro"]):
        raise Wrong("detail.csv does not hold the rows, points and amount that the manifest says")
    return f"{count} movements of {points} points are priced as agreed, {micro} micro-units together"


def lines_are_sums_of_movements(package: Package) -> str:
    """Each line of points is the sum of its movements, each line of other money the sum of its events."""
    statement = package.json("statement.json")
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in package.detail():
        add_to(sums, ("MOVEMENTS", row["kind"], row["agreement"], row["unit_price_micro"]), row, 1)
    for event in statement["events"]:
        add_to(sums, ("EVENTS", event["kind"], event["agreement"], "0"), event, int(event["count"]))
    recomputed = 0
    for line in statement["lines"]:
        if line["basis"] not in ("MOVEMENTS", "EVENTS"):
            continue
        found = sums.pop((line["basis"], line["kind"], line["agreement"], line["unit_price_micro"]), [0, 0, 0])
        said = [int(line["points"]), int(line["postings"]), int(line["amount_micro"])]
        if found != said:
            raise Wrong(f"line {line['line_no']} says {said}, its movements {found}")
        recomputed += 1
    if sums:
        raise Wrong(f"movements that no line counts: {sorted(map(str, sums))}")
    return f"{recomputed} lines are the sums of their movements"


def add_to(sums: dict[tuple[Any, ...], list[int]], key: tuple[Any, ...], row: dict[str, Any], count: int) -> None:
    """Add a row's points, count and amount to the sums of its line."""
    total = sums.setdefault(key, [0, 0, 0])
    total[0] += int(row["points"])
    total[1] += count
    total[2] += int(row["amount_micro"])


def every_other_line_follows_by_rule(package: Package) -> str:
    """Fees and rebates of volume periods, tax, what is retained and carried over: each by its rule, none left out."""
    statement = package.json("statement.json")
    agreements = package.json("agreements.json")
    per_minor = int(statement["micro_per_minor"])
    wanted: dict[str, int] = {}
    for kind, micro in period_lines(package, statement, agreements["versions"]).items():
        wanted[kind] = wanted.get(kind, 0) + micro
    base = [line for line in statement["lines"] if line["basis"] in ("MOVEMENTS", "EVENTS", "PERIOD")]
    taxes = tax_lines(base, agreements["conditions"]["tax"])
    own_micro = sum(int(line["amount_micro"]) for line in base) + sum(taxes.values()) * per_minor
    own_minor = half_even(own_micro, per_minor)
    kept = retained(statement, agreements["conditions"], own_minor)
    for kind, minor in [*taxes.items(), *kept.items()]:
        wanted[kind] = minor * per_minor
    wanted["ROUNDING"] = own_minor * per_minor - own_micro
    said: dict[str, int] = {}
    for line in statement["lines"]:
        if line["basis"] not in ("MOVEMENTS", "EVENTS"):
            if line["kind"] not in RULED.get(line["basis"], ()):
                raise Wrong(f"line {line['line_no']} is {line['kind']}, which no rule {line['basis']} makes")
            said[line["kind"]] = said.get(line["kind"], 0) + int(line["amount_micro"])
    for kind in sorted(wanted.keys() | said.keys()):
        if wanted.get(kind, 0) != said.get(kind, 0):
            raise Wrong(f"{kind} is {said.get(kind, 0)} micro-units, by its rule it is {wanted.get(kind, 0)}")
    return f"{len(said)} kinds of fee, tax, retention and rounding follow by their rules"


def period_lines(package: Package, statement: dict[str, Any], versions: dict[str, Any]) -> dict[str, int]:
    """What volume periods bring, by kind, micro-units: progressive tiers, rebates, platform and minimum fee."""
    found = {"TIER_REBATE": 0, "VOLUME_REBATE": 0, "PLATFORM_FEE": 0, "MINIMUM_FEE": 0}
    if not statement["volumes"]:
        return found
    billed = service = 0
    for row in package.detail():
        way = WAYS.get(row["kind"], 0)
        billed += way * int(row["points"])
        service += way * int(row["points"]) * int(versions[row["agreement"]]["service_price_micro"])
    if billed != sum(int(volume["points"]) for volume in statement["volumes"]):
        raise Wrong("the volumes are not those of the movements")
    for volume in statement["volumes"]:
        terms = versions[volume["agreement"]]
        tiers = [(int(above), int(rebate)) for above, rebate in terms["volume_tiers"]]
        before, points = int(volume["before_points"]), int(volume["points"])
        fee = int(terms["platform_fee_micro"])
        found["TIER_REBATE"] += up_to(tiers, before + points) - up_to(tiers, before)
        found["PLATFORM_FEE"] -= fee * int(volume["months"])
        if volume["is_over"]:
            total, charged = before + points, int(volume["service_micro"])
            if not before and len(statement["volumes"]) == 1 and charged != service:
                raise Wrong("the service part of the volume is not that of the movements")
            rates = [int(bp) for least, bp in terms["volume_rebates"] if total >= int(least)]
            rebate = half_even(max(0, charged) * rates[-1], 10_000) if rates else 0
            months = int(volume["months"]) + int(volume["charged_months"])
            brought = charged + fee * months - up_to(tiers, total) - rebate
            found["VOLUME_REBATE"] += rebate
            found["MINIMUM_FEE"] -= max(0, int(terms["minimum_fee_micro"]) - brought)
    return found


def up_to(tiers: list[tuple[int, int]], points: int) -> int:
    """What progressive tiers give for the first so many points of a period."""
    given = 0
    for number, (above, rebate) in enumerate(tiers):
        end = tiers[number + 1][0] if number + 1 < len(tiers) else points
        given += max(0, min(points, end) - above) * rebate
    return given


def tax_lines(lines: list[dict[str, Any]], rule: dict[str, str]) -> dict[str, int]:
    """Tax on what each side supplied, minor units: rounded on every line, or once for each document."""
    bases: dict[tuple[str, int], list[int]] = {}
    for line in lines:
        minor = int(line["amount_minor"])
        if minor and line["kind"] not in NO_SUPPLY:
            kind = "INPUT_TAX" if line["kind"] in BY_PARTNER else "OUTPUT_TAX"
            bases.setdefault((kind, 1 if minor > 0 else -1), []).append(abs(minor))
    found = {"INPUT_TAX": 0, "OUTPUT_TAX": 0}
    rate = int(rule["rate_bp"])
    for (kind, way), amounts in bases.items():
        taxed = amounts if rule["rounding"] == "LINE" else [sum(amounts)]
        found[kind] += way * sum(half_even(amount * rate, 10_000) for amount in taxed)
    return found


def retained(statement: dict[str, Any], conditions: dict[str, Any], own_minor: int) -> dict[str, int]:
    """What is retained, let go and carried over, minor units."""
    opening, released = int(statement["opening_minor"]), int(statement["released_minor"])
    payable = opening + own_minor
    held = max(0, min(own_minor, payable)) * int(conditions["holdback_bp"]) // 10_000
    payable += released - held
    is_small = conditions["is_netted"] and abs(payable) < int(conditions["minimum_payout_minor"])
    return {"HOLDBACK_RELEASED": released, "HOLDBACK": -held, "CARRIED_OUT": -payable if is_small else 0}


def lines_sum_to_the_net(package: Package) -> str:
    """Opening and lines make the net, exactly and as shown; each line is rounded half-even by itself."""
    statement = package.json("statement.json")
    per_minor = int(statement["micro_per_minor"])
    micro, minor = int(statement["opening_micro"]), int(statement["opening_minor"])
    for line in statement["lines"]:
        amount, shown = int(line["amount_micro"]), int(line["amount_minor"])
        if line["basis"] != "ROUNDING" and shown != half_even(amount, per_minor):
            raise Wrong(f"line {line['line_no']} is shown as {shown}, which is not {amount} rounded")
        micro, minor = micro + amount, minor + shown
    if (micro, minor) != (int(statement["net_micro"]), int(statement["net_minor"])):
        raise Wrong(f"opening and lines make {micro} and {minor}, not the net")
    if micro != minor * per_minor:
        raise Wrong("the net is no whole number of minor units")
    return f"opening and {len(statement['lines'])} lines make the net of {minor} minor units"


def run_nets_to_zero_and_holds_this_net(package: Package) -> str:
    """The statement is a leaf of the run's tree of nets, and the tree's sum is zero."""
    tree = package.manifest["tree"]
    statement = package.json("statement.json")
    leaf = tree["leaf"]
    net = int(statement["net_micro"])
    said = (leaf["statement_sha256"], leaf["partner"], leaf["currency"], leaf["net_micro"])
    real = (sha256_hex(package.read("statement.json")), statement["partner"], statement["currency"], str(net))
    if said != real:
        raise Wrong("the leaf is not of this statement")
    node = (hashlib.sha256(b"\x00" + sum_bytes(net) + canonical(leaf)).digest(), net)
    for step in tree["proof"]:
        other = (bytes.fromhex(step["hash"]), int(step["sum_micro"]))
        left, right = (other, node) if step["side"] == "LEFT" else (node, other)
        text = b"\x01" + left[0] + sum_bytes(left[1]) + right[0] + sum_bytes(right[1])
        node = (hashlib.sha256(text).digest(), left[1] + right[1])
    if node[0].hex() != tree["root"]:
        raise Wrong("the proof does not lead to the run's root")
    if node[1] != 0:
        raise Wrong(f"the nets of the run sum to {node[1]} micro-units, not to zero")
    return f"this net is one of {tree['leaves']} that sum to zero, root {tree['root'][:16]}"


def statement_follows_the_previous(package: Package, previous: Package | None) -> str:
    """The statement names the one before it, and opens with what that one left."""
    said = package.manifest["previous_statement_sha256"]
    if package.json("statement.json")["previous_statement_sha256"] != said:
        raise Wrong("the statement names another predecessor than the manifest")
    if previous is None:
        return (
            "names its predecessor "
            + (said[:16] if said else "(none: it is the first)")
            + "; give --previous to compare"
        )
    if sha256_hex(previous.read("statement.json")) != said:
        raise Wrong("the package given as previous is not the one before this")
    left = previous.json("statement.json").get("carried_minor", "0")
    if left != package.json("statement.json")["opening_minor"]:
        raise Wrong("it does not open with what the previous one carried over")
    return "follows the previous statement and opens with what it left"


def seals_are_chained(package: Package) -> str:
    """The ledger's seals of the period follow one another."""
    seals = package.json("seals.json")["seals"]
    for number in range(1, len(seals)):
        earlier, later = seals[number - 1], seals[number]
        if later["previous_sha256"] != earlier["sha256"]:
            raise Wrong(f"the seal of cut-off {later['cutoff']} does not follow that of {earlier['cutoff']}")
    return f"{len(seals)} seals of the ledger, each naming the one before"


# --- Bytes ----------------------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """A value as RFC 8785 writes it; there are no numbers in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def sha256_hex(content: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def base64url(content: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unbase64(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(key: dict[str, str]) -> str:
    """The thumbprint of a public key (RFC 7638)."""
    return base64url(hashlib.sha256(canonical({name: key[name] for name in ("crv", "kty", "x")})).digest())


def sum_bytes(micro: int) -> bytes:
    """A sum as it is hashed."""
    return micro.to_bytes(16, "big", signed=True)


def half_even(numerator: int, denominator: int) -> int:
    """A quotient rounded to the nearest, ties to the even one."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1))


def main(arguments: list[str]) -> int:
    """Check everything, say what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("package", help="the package, a zip file")
    parser.add_argument("--key", help="the operator's public keys, a JSON Web Key Set that you got from elsewhere")
    parser.add_argument("--previous", help="the package of the statement before this one")
    given = parser.parse_args(arguments)
    try:
        package = Package(given.package)
        previous = Package(given.previous) if given.previous else None
        trusted = None
        if given.key:
            with open(given.key, encoding="utf-8") as file:
                trusted = json.load(file)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, Wrong) as error:
        print(f"this cannot be read as a package: {error}", file=sys.stderr)
        return 2
    checks: list[Callable[[], str]] = [
        lambda: files_are_those_of_the_manifest(package),
        lambda: manifest_is_signed(package, trusted),
        lambda: prices_follow_from_the_terms(package),
        lambda: movements_have_the_agreed_prices(package),
        lambda: lines_are_sums_of_movements(package),
        lambda: every_other_line_follows_by_rule(package),
        lambda: lines_sum_to_the_net(package),
        lambda: run_nets_to_zero_and_holds_this_net(package),
        lambda: statement_follows_the_previous(package, previous),
        lambda: seals_are_chained(package),
    ]
    failed = 0
    for check in checks:
        try:
            print("ok      " + check())
        except (
            Wrong, KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error, OverflowError,
        ) as error:  # fmt: skip
            failed += 1
            print(f"FAILED  {error if isinstance(error, Wrong) else 'the package is damaged: ' + repr(error)}")
    head = package.manifest
    print(
        f"statement {head['statement']} of {head['partner']}, run {head['run']}: " + ("FAILED" if failed else "holds")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
