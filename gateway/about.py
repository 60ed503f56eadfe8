"""What this program is called, which version it is, and whom mode dev lets in."""

from importlib.metadata import PackageNotFoundError, version

DEV_USERS = ("alice", "bob")
DEV_PASSWORD = "quantum-demo"


def installed_version() -> str:
    """Return the version of the installed package, or that it is not installed."""
    try:
        return version("quantum-gateway")
    except PackageNotFoundError:
        return "0.0.0+source"
