"""Forms with a file (multipart/form-data, RFC 7578), with the same proof that our own page sent them.

The file is held in memory as long as the request lasts; how large it may be is the page's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message

from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.sessions import forms
from kit.secrets import Vault

_MOST_PARTS = 20
_FORM_BYTES = 16_384
"""What the fields beside the file may take."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as a browser sent it: its name and kind as the browser says, and its bytes."""

    name: str
    media_type: str
    content: bytes


async def read(
    request: Request, vault: Vault, cookie: str | None, *, most_bytes: int
) -> tuple[dict[str, str], Upload | None]:
    """The fields of a form of ours and the file that was sent with it; None where none was chosen.

    Raises HTTPException: 403 where it was not our page, 413, 415, 400 for what is no form of ours.
    """
    said = Message()
    said["content-type"] = request.headers.get("content-type", "")
    boundary = said.get_boundary()
    if said.get_content_type() != "multipart/form-data" or not boundary or len(boundary) > 70:
        raise HTTPException(415, "only multipart/form-data")
    body = await forms.read_body(request, most_bytes + _FORM_BYTES)
    fields: dict[str, str] = {}
    files: list[Upload] = []
    for head, content in _parts(body, boundary.encode()):
        name, file_name = head.get_param("name", header="content-disposition"), _file_name(head)
        if not isinstance(name, str) or name in fields or (file_name is not None and files):
            raise HTTPException(400, "a field twice, or without a name")
        if file_name is None:
            fields[name] = _text(content)
        elif file_name or content:
            files.append(Upload(file_name, head.get_content_type(), content))
    forms.require_own(request, vault, cookie, fields.get(forms.FIELD))
    if files and len(files[0].content) > most_bytes:
        raise HTTPException(413, "too large")
    return fields, files[0] if files else None


def _parts(body: bytes, boundary: bytes) -> list[tuple[Message, bytes]]:
    """The parts between the boundaries, each with its head. Raises HTTPException (400) for what has no end."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--") or len(pieces) - 2 > _MOST_PARTS:
        raise HTTPException(400, "not a form")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> tuple[Message, bytes]:
    lines, found, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not found:
        raise HTTPException(400, "not a form")
    head = Message()
    for line in lines.split(b"\r\n"):
        name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        head[name] = value.strip()
    return head, content


def _file_name(head: Message) -> str | None:
    try:  # it may say in which characters it is written, and be wrong
        name = head.get_filename()
        return None if name is None else _text(name.encode("utf-8", "surrogateescape"))
    except UnicodeError:
        raise HTTPException(400, "not UTF-8") from None


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "not UTF-8") from None
    forms.require_text([text])
    return text
