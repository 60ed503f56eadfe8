"""Files that hold secrets: written 0600 in one step, and not read when others could have."""

import os
from pathlib import Path
from secrets import token_hex


def write_secret(path: Path, data: bytes) -> None:
    """Write *data* to *path* with mode 0600, whole or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_secret(path: Path) -> bytes:
    """Return what *path* holds. Raises PermissionError if other users may read it."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(
            f"{path} has mode {mode:04o}, so other users could read the secret in it; "
            f"run: chmod 600 {path}"
        )
    return path.read_bytes()
