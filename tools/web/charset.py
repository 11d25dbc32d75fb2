"""Bytes as text: a document is read in the first of its declared or likely encodings that fits.

In the order of the web: a byte order mark, the header's charset, what the document says of itself,
UTF-8. The first that fits every byte is taken, as servers declare for pages that they do not know.
"""

from __future__ import annotations

import codecs
import encodings
import importlib
import pkgutil
import re
from collections.abc import Iterator
from contextlib import suppress

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD_BYTES = 4096
_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([\w.:-]{1,40})"""
    rb"""|<meta[^>]{0,500}?charset\s{0,9}=\s{0,9}["']?\s{0,9}([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""What browsers read instead: pages use these supersets under the smaller encoding's name."""
_NAMES = {
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "windows-949": "cp949",
    "x-mac-cyrillic": "mac-cyrillic",
}
"""Names of the web that Python lacks."""
_KNOWN = re.compile(
    r"utf-(8|16|16-le|16-be|8-sig)|cp(125\d|866|874|932|949|950)|iso8859-\d+|koi8-[ru]|gb18030|hz"
    r"|big5hkscs|euc_jp|iso2022_jp|iso2022_kr|mac-(roman|cyrillic)"
)
"""Encodings of pages; Python has others that are no text, or slow on purpose-made bytes."""


def load_codecs() -> None:
    """Load every codec now: a confined process may not be able to open their files."""
    for module in pkgutil.iter_modules(encodings.__path__):
        with suppress(LookupError, ValueError, ImportError):  # it is no encoding, or of Windows
            importlib.import_module(f"encodings.{module.name}")  # some have another's name
            b"a".decode(module.name)


def decoded(content: bytes, charset: str | None, *, markup: bool = False) -> str | None:
    """The text, if an encoding fits. With `markup`, the document may declare one."""
    for name in _candidates(content, charset, markup):
        with suppress(UnicodeDecodeError):
            return codecs.getincrementaldecoder(name)().decode(content)  # it may be cut at its end
    return None


def forced(content: bytes, charset: str | None) -> str:
    """The text in the header's charset, or else UTF-8, with a replacement for what does not fit."""
    return content.decode(_known(charset) or "utf-8", errors="replace")


def _candidates(content: bytes, charset: str | None, markup: bool) -> Iterator[str]:
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            yield name
    if header := _known(charset):
        yield header
    declaration = _DECLARED.search(content[:_HEAD_BYTES]) if markup else None
    if declaration and (own := _known((declaration[1] or declaration[2]).decode())):
        # What declares UTF-16 could not have been read so far if it were
        yield "utf-8" if own.startswith("utf-16") else own
    yield "utf-8"


def _known(label: str | None) -> str | None:
    """Python's name for an encoding that pages use."""
    try:
        label = (label or "").strip().lower()
        name = codecs.lookup(_NAMES.get(label, label)).name
    except (LookupError, ValueError):
        return None
    name = _WIDER.get(name, name)
    return name if _KNOWN.fullmatch(name) else None
