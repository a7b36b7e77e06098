"""The feature cache: what was computed once and can be used again, by a resumed run, a re-scan or another audit.

    salt                                    private; keys sampling and hashing
    markers/<shard>-<recipe>.json           a finished shard: its digest, rows and skips
    features/<recipe>/<digest>.parquet      one feature table a shard, named by the shard's own bytes
    states/<recipe>/<digest>.npz            one aggregate state a shard, or
    states/<recipe>/<digest>/<n>.npz        the parts of it
    views/<recipe>.npz                      a finished view of a set of shards
    scores/<recipe>/<digest>.parquet        one table of detector scores a shard
    proxies/<recipe>-<epoch>.safetensors    the last checkpoint of a proxy
    encoders/<encoder>.json                 how an encoder behaved when it was first used here

Names say what a file was made of, so nothing is ever updated in place or taken for what it is not.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from dataaudit.errors import AuditDirectoryError
from dataaudit.model import Shard, fingerprint
from dataaudit.store.records import atomic


@dataclass(frozen=True)
class Cache:
    """Where things lie under one root."""

    root: Path

    def salt(self, seed: int | None) -> str:
        """The salt of this cache (hex), made on first use; a seed fixes it instead and is not stored.

        Raises AuditDirectoryError where the cache cannot be written to.
        """
        path = self.root / "salt"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.root):
                pass
            if seed is not None:
                return hashlib.blake2b(f"seed {seed}".encode(), digest_size=16).hexdigest()
            if not path.exists():
                with atomic(path) as out:
                    os.fchmod(out.fileno(), 0o600)
                    out.write(secrets.token_hex(16).encode())
            salt = path.read_text(errors="replace").strip()
        except OSError as error:
            raise AuditDirectoryError(f"{self.root}: no directory that features can be kept in ({error.strerror}); name another") from error
        if len(salt) != 32:
            raise AuditDirectoryError(f"{path}: expected 32 hex digits, found {len(salt)} characters; delete the cache and run again")
        return salt

    @property
    def encoders(self) -> Path:
        """Where encoders without a built-in expectation are written down."""
        return self.root / "encoders"

    def marker(self, shard: Shard, recipe: str) -> Path:
        """Written when everything else about the shard is on disk; the name changes with the file it speaks of."""
        return self.root / "markers" / f"{fingerprint(shard.uri, shard.name, shard.size, shard.etag)}-{recipe}.json"

    def features(self, recipe: str, digest: str) -> Path:
        """A shard's feature table."""
        return self.root / "features" / recipe / f"{digest}.parquet"

    def scratch(self, recipe: str) -> Path:
        """Where a feature table is written before its shard's digest is known; never the same twice."""
        return self.root / "features" / recipe / f".{secrets.token_hex(8)}.parquet"

    def checkpoint(self, recipe: str, epoch: int) -> Path:
        """A proxy after an epoch."""
        return self.root / "proxies" / f"{recipe}-{epoch}.safetensors"

    def state(self, recipe: str, digest: str) -> Path:
        """A shard's state of one aggregate."""
        return self.root / "states" / recipe / f"{digest}.npz"

    def parts(self, recipe: str, digest: str) -> Path:
        """The directory of a shard's states of one aggregate that has several; there once all of them are."""
        return self.root / "states" / recipe / digest

    def view(self, recipe: str) -> Path:
        """A finished view."""
        return self.root / "views" / f"{recipe}.npz"

    def scores(self, recipe: str, digest: str) -> Path:
        """A shard's detector scores."""
        return self.root / "scores" / recipe / f"{digest}.parquet"
