"""`tessera`: the command line. What a command needs is imported when it is called, so that help is quick."""

from __future__ import annotations

import importlib
from base64 import urlsafe_b64encode
from typing import Any

import typer
from typer.core import TyperGroup

# name: where its Typer application or function is, and what help says of it.
_ELSEWHERE = {
    "programme": ("partners.commands.programme", "app", "The coalition's own rules, founded once."),
    "partner": ("gateway.client_commands", "app", "Partners, their outlets, terminals, agreements and clients."),
    "oauth": ("gateway.oauth.key_commands", "app", "Clients' keys, and what people allowed clients to do."),
    "member": ("partners.commands.members", "app", "Members, their cards and points, at the operator's own desk."),
    "household": ("partners.commands.households", "app", "Members who spend from one pool."),
    "mechanics": (
        "partners.mechanics.commands",
        "app",
        "Tiers, events, invitations, stamps, rewards, segments, badges.",
    ),
    "coupons": ("partners.mechanics.commands", "coupon_app", "Coupons and promo codes: batches, codes, a stop."),
    "raffles": ("partners.mechanics.raffle_commands", "app", "Raffles that anybody can draw again."),
    "rules": ("partners.promotions.commands", "app", "Rules of promotions: check, simulate, publish, suspend."),
    "approvals": (
        "partners.commands.approvals",
        "app",
        "What somebody proposed about members, to be decided by another.",
    ),
    "actor": ("kit.commands", "app", "Who may act on the programme's side, and in which roles."),
    "staff": ("gateway.sessions.commands", "app", "Which actors may sign in to the console."),
    "ledger": ("ledger.commands", "app", "The points: whether they were altered, whose will expire untold."),
    "settle": ("settlement.commands", "app", "What partners owe each other: cut-offs, runs, statements."),
    "report": ("settlement.reports.commands", "report", "Reports of settlement as CSV, workbook or PDF."),
    "books": ("settlement.money.commands", "app", "The operator's books: bookings, balances, periods, stock."),
    "reconcile": (
        "settlement.reconciliation.commands",
        "app",
        "Partners' files, the bank's statements, payments, and what differs.",
    ),
    "plan": ("members.subscription.commands", "app", "Plans, their prices, and the money of invoices."),
    "fees": ("settlement.subscription.commands", "app", "How fees of subscriptions are shared; the close of months."),
    "clock": ("gateway.clock_commands", "app", "The business clock of a sandbox."),
    "worker": ("gateway.worker", "worker", "Do what time makes due: points, tiers, roll-ups, the watch over accounts."),
    "demo": ("gateway.demo.commands", "demo", "Replay weeks of real receipts through the gateway, settle, and serve."),
}


class _Group(TyperGroup):
    """Knows the commands of other modules by name, and imports one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command's name."""
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; for help, one that knows no more than its own sentence."""
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute, sentence = _ELSEWHERE[cmd_name]
        if ctx.meta.get("resolving") != cmd_name:
            return TyperGroup(name=cmd_name, help=sentence)
        return _imported(cmd_name, getattr(importlib.import_module(module), attribute))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is really called."""
        ctx.meta["resolving"] = args[0] if args else None
        return super().resolve_command(ctx, args)


def _imported(name: str, found: Any) -> Any:
    parent = typer.Typer(add_completion=False)
    parent.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        parent.add_typer(found, name=name)
    else:
        parent.command(name)(found)
    group = typer.main.get_command(parent)
    assert isinstance(group, TyperGroup)
    return group.commands[name]


app = typer.Typer(
    cls=_Group,
    help="Tessera, a coalition loyalty network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def serve() -> None:
    """Serve the gateway until a signal; settings come from the environment."""
    from gateway import application, serving
    from gateway.charging import choice
    from gateway.charging.choice import BadProvider
    from gateway.charging.simulator import NotInProduction
    from gateway.messages.sending import BadSmtpUrl
    from gateway.messages.sms import BadSmsUrl
    from gateway.oauth.routes import BadIssuer
    from gateway.wallet import apple, google
    from kit import console
    from kit.secrets import Vault, load_master_key
    from kit.settings import settings

    with console.clear_errors(), console.database_address(settings()) as (address, _):
        try:
            choice.of(settings())
            served = application.of(settings(), address)
        except (
            BadIssuer, BadSmtpUrl, BadSmsUrl, NotInProduction, BadProvider, apple.BadSigner, google.BadSigner,
        ) as wrong:  # fmt: skip
            console.fail(str(wrong))
        console.run(serving.check(address, Vault(load_master_key(settings()))))
        serving.serve(served, settings())


@app.command()
def migrate(
    citus: bool = typer.Option(
        False,
        "--citus",
        help="Also spread the ledger by holder over the nodes of a Citus cluster. Never run by us against Citus: it "
        "follows Citus' documented rules, and tests check the statements' form. Recording purchases there is not "
        "done yet: see docs/decisions/0011-sharding-by-holder.md.",
    ),
) -> None:
    """Bring the database to this version; safe at any time and by several at once."""
    import migrations
    from kit import console
    from kit.settings import settings
    from migrations import citus as cluster

    with console.clear_errors(), console.database_address(settings()) as (_, owner_address):
        try:
            changed = (cluster.distribute if citus else migrations.upgrade)(owner_address)
        except cluster.CitusError as missing:
            console.fail(str(missing))
    console.out.print(", ".join(changed) or "Nothing to do.", markup=False)


@app.command()
def audit() -> None:
    """Look whether the ledger's rules hold; every violation is named, and there must be none."""
    from gateway.auditing import audit as look

    look()


@app.command("new-key")
def new_key() -> None:
    """Print a fresh master key for TESSERA_MASTER_KEY."""
    from kit import secrets

    print(urlsafe_b64encode(secrets.new_key()).decode())


schema_app = typer.Typer(help="The GraphQL schema that is served: print it, who uses what of it, what changed.")
app.add_typer(schema_app, name="schema", invoke_without_command=True)


@schema_app.callback()
def schema(context: typer.Context) -> None:
    """Print the GraphQL schema that is served."""
    if context.invoked_subcommand is None:
        from gateway.schema import schema as served

        print(served.sdl(), end="")


@schema_app.command("usage")
def schema_usage(
    days: int = typer.Option(30, min=1, help="How far back."),
    deprecated: bool = typer.Option(False, "--deprecated", help="Only fields that are to go."),
) -> None:
    """Who used which field of the schema: a field that nobody uses may go when its date has come."""
    from gateway.schema_commands import usage

    usage(days=days, only_deprecated=deprecated)


@schema_app.command("changes")
def schema_changes() -> None:
    """What callers of the released schema could notice and nobody has waived; exit code 1 if there is anything."""
    from gateway.schema_commands import changes

    changes()


@app.command("rotate-keys")
def rotate_keys() -> None:
    """Give everything that is sealed or hashed over to a new master key; takes as long as there are members.

    Put the new key and a comma in front of the old one in TESSERA_MASTER_KEY, and stop the gateway and the worker. May
    be stopped at any time: called again it goes on.
    """
    from gateway.key_rotation_commands import rotate_keys as rotate

    rotate()


@app.command("rotate-signing-key")
def rotate_signing_key(
    emergency: bool = typer.Option(
        False, "--emergency", help="Refuse every token of the keys before, within a minute."
    ),
    actor: str | None = typer.Option(
        None, envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
) -> None:
    """Sign access tokens with a new key; tokens of the last one expire. Takes the role OPERATOR_ADMIN."""
    from gateway.oauth.commands import rotate_signing_key as rotate

    rotate(actor=actor, emergency=emergency)


def main() -> None:
    """The entry point of `tessera`."""
    app()


if __name__ == "__main__":
    main()
