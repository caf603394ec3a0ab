"""Zip archives as a source of small files: read in memory member by member, never extracted, within stated bounds.

A member's name is a label and never a path on the disk, so none can lead out of a folder.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench.errors import UserError, one_line

MAX_BYTES = 2**24  # of one unpacked member; the faces of CelebA are about 10 kB
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack a block to any size before it can be stopped


@dataclass(frozen=True)
class Archive:
    """An open zip. `name` is what messages call it, `remedy` how they end."""

    zip: zipfile.ZipFile
    name: str
    remedy: str

    @classmethod
    def open(cls, file: Path | BinaryIO, name: str, remedy: str) -> Archive:
        """The archive in `file`; UserError for one that cannot be read or has a name twice."""
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # a broken directory raises anything from BadZipFile to struct.error
            raise UserError(
                f"{name} cannot be read ({one_line(error)}): it may be half a download or a saved quota page; {remedy}"
            ) from error
        ((member, count),) = Counter(archive.namelist()).most_common(1) or [("", 0)]
        if count > 1:
            raise UserError(f"{name} holds {one_line(repr(member))} {count:,} times: {remedy}")
        return cls(archive, name, remedy)

    def names(self) -> list[str]:
        """The members, in the order of the archive; folders end in "/"."""
        return self.zip.namelist()

    def read(self, member: str) -> bytes:
        """The bytes of one member, whose checksum fits. UserError for one that is damaged, encrypted or too large."""
        info, shown = self.zip.getinfo(member), one_line(member if member.isprintable() else repr(member))
        if info.file_size > MAX_BYTES:
            raise UserError(
                f"{self.name}: {shown} unpacks to {info.file_size:,} bytes, more than the {MAX_BYTES:,} allowed: "
                f"{self.remedy}"
            )
        if info.compress_type not in METHODS:
            raise UserError(f"{self.name}: {shown} is not packed by deflate: unpack the archive yourself, or repack it")
        try:
            with self.zip.open(info) as file:
                content = file.read(MAX_BYTES + 1)
        except Exception as error:  # a torn archive raises anything from zlib.error to RuntimeError (a password)
            raise UserError(f"{self.name}: {shown} cannot be unpacked ({one_line(error)}): {self.remedy}") from error
        return content
